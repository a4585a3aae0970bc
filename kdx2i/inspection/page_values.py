"""Numbers of a page from the CSV files of tables: what stands between a marker and its end is written by a command.

A marker is an HTML comment, so that the rendered page does not show it. One number:

    <!-- value FILE part=latent dataset=birds label='Ours*' metric=RC -->66.2<!-- end -->

`minus` and further keys subtract the number that they name; keys that it leaves out are those before it. `digits=0`
replaces the metric's own digits. A block of rows (labels) and columns (datasets), each cell with one number a metric:

    <!-- table FILE part=latent metrics=mKIDx100,mFID,RC digits=0,0,1 -->
    <!-- end -->

`labels=` and `datasets=` (names with commas between them) choose and order rows and columns; a † marks what has not
learned. What no table prints is
read from the runs of a reference, the mean over its seeds:

    <!-- runs FOLDER datasets=open-birds,open-foods transfers=scratch,kd metrics=mFID,RC mode=reference size=64 -->
    <!-- end -->

How well the runs of a row follow captions or utterances, one line a seed (`kdx2i.metrics.r_precision`):

    <!-- fidelity FOLDER dataset=open-animals-text architecture=ssa_gan transfer=kd mode=text size=64 -->
    <!-- end -->

One row of a reference's table against another, with intervals over its seeds (`kdx2i.inspection.page_gains`):

    <!-- gains FOLDER table=table1 part=latent label='Ours*' against='StarGANv2*' datasets=birds,foods metrics=RC -->
    <!-- end -->

What the tables of references, by name, say of the paper's claims, those left out that were not run:

    <!-- claims open open-ablation -->
    <!-- end -->
"""

import csv
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from kdx2i.errors import UserError
from kdx2i.files import write_text
from kdx2i.foreign import read_document
from kdx2i.inspection.page_gains import difference_rows, written
from kdx2i.metric_catalogue import METRICS
from kdx2i.stages.claims import judged, reference_tables
from kdx2i.tables.claims_text import count_line, overview

MARKER = re.compile(
    r"(?P<open><!-- (?P<kind>value|table|runs|fidelity|gains|claims) (?P<ask>[^>]*?) -->)"
    r"(?P<old>.*?)(?P<close><!-- end -->)",
    re.DOTALL,
)
NONE = "–"
NOT_LEARNED_MARK = "†"
Row = dict[str, str]


def rendered(text: str, root: Path, where: str) -> str:
    """Return a page's text with every marked number as the CSV files of the repository at `root` have it.

    `UserError`, beginning with `where`, for a marker that names no file, no number, or several.
    """

    def number(match: re.Match[str]) -> str:
        try:
            name, *asked = shlex.split(match["ask"])
            if match["kind"] == "value":
                made = _value(_rows(root / name), asked)
            elif match["kind"] == "table":
                made = f"\n{_table(_rows(root / name), asked)}\n"
            elif match["kind"] == "runs":
                made = f"\n{_runs(root / name, asked)}\n"
            elif match["kind"] == "fidelity":
                made = f"\n{_fidelity(root / name, asked)}\n"
            elif match["kind"] == "claims":
                made = f"\n{_claims(root, [name, *asked])}\n"
            else:
                made = f"\n{_gains(root / name, asked)}\n"
        except (ValueError, KeyError, OSError, UserError) as error:
            raise UserError(f"{where}: the marker `{match['ask']}` cannot be filled: {error}") from None
        return match["open"] + made + match["close"]

    return MARKER.sub(number, text)


def marked_pages(root: Path) -> list[Path]:
    """Return the pages of the repository that have markers, sorted."""
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    return [page for page in pages if MARKER.search(page.read_text(encoding="utf-8"))]


def write_pages(root: Path) -> list[Path]:
    """Write the marked numbers of every page anew and return the pages that have some."""
    pages = marked_pages(root)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        write_text(page, rendered(text, root, page.relative_to(root).as_posix()))
    return pages


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _value(rows: Sequence[Row], asked: Sequence[str]) -> str:
    """Return one number, or the difference of two."""
    first, second = asked, None
    if "minus" in asked:
        at = list(asked).index("minus")
        first, second = asked[:at], asked[at + 1 :]
    keys = _keys(first)
    digits = keys.pop("digits", "")
    row = _one(rows, keys)
    if second is None:
        return _text(row, digits)
    other = _one(rows, {**keys, **_keys(second)})
    if not row["value"] or not other["value"]:
        raise ValueError("one of the two numbers is absent")
    return written(float(row["value"]) - float(other["value"]), row["metric"], digits)


def _table(rows: Sequence[Row], asked: Sequence[str]) -> str:
    """Return a Markdown table of labels by datasets."""
    keys = _keys(asked)
    digits = _digits(keys)
    wanted = {name: keys.pop(f"{name}s", "") for name in ("label", "dataset")}
    here = [row for row in rows if row["kind"] == keys.get("kind", "method") and _fits(row, keys)]
    names = {
        name: asked_for.split(",") if asked_for else list(dict.fromkeys(row[name] for row in here))
        for name, asked_for in wanted.items()
    }
    lines = _head(digits, names["dataset"])
    for label in names["label"]:
        cells = []
        for dataset in names["dataset"]:
            found = [_one(here, {"label": label, "dataset": dataset, "metric": metric}) for metric in digits]
            texts = [_text(row, count) for row, count in zip(found, digits.values(), strict=True)]
            mark = f" {NOT_LEARNED_MARK}" if any(row.get("learned") == "no" for row in found) else ""
            cells.append(" / ".join(texts) + mark)
        lines.append("| " + " | ".join([label.replace("*", r"\*"), *cells]) + " |")
    return "\n".join(lines)


def _runs(folder: Path, asked: Sequence[str]) -> str:
    """Return a Markdown table of transfers by datasets from the metrics of an architecture's runs (StarGAN v2's)."""
    keys = _keys(asked)
    digits = _digits(keys)
    datasets, transfers = keys["datasets"].split(","), keys["transfers"].split(",")
    lines = _head(digits, datasets)
    for transfer in transfers:
        cells = []
        for dataset in datasets:
            place = f"{dataset}/{keys.get('architecture', 'stargan_v2')}/{transfer}/r{keys['size']}"
            files = sorted(folder.glob(f"{place}/s*/{keys['mode']}/metrics.json"))
            read: list[dict[str, Any]] = [read_document(file)["values"] for file in files]
            values = {metric: [float(each[metric]["value"]) for each in read] for metric in digits}
            texts = [written(fmean(values[metric]), metric, count) for metric, count in digits.items() if files]
            cells.append(" / ".join(texts) or NONE)
        lines.append("| " + " | ".join([transfer, *cells]) + " |")
    if all(line.count(NONE) == len(datasets) for line in lines[2:]):
        raise ValueError("there is no such run")
    return "\n".join(lines)


def _fidelity(folder: Path, asked: Sequence[str]) -> str:
    """Return a Markdown table of R-precision and its pairs, with intervals, of the runs of one row, a line a seed."""
    keys = _keys(asked)
    place = f"{keys['dataset']}/{keys['architecture']}/{keys['transfer']}/r{keys['size']}"
    lines = ["| seed | R-precision % | chance | own against another's % | the same in training % |"]
    lines.append("| --- |" + " ---: |" * 4)
    for file in sorted(folder.glob(f"{place}/s*/{keys['mode']}/metrics.json")):
        entry = read_document(file)["values"]["R-precision"]
        pairs = [entry["pairs"], entry["training"]["pairs"]]
        texts = [
            f"{one['value']:.1f} ({one['interval'][0]:.1f} to {one['interval'][1]:.1f})" for one in (entry, *pairs)
        ]
        cells = [file.parts[-3].removeprefix("s"), texts[0], f"{entry['chance']:.1f}", *texts[1:]]
        lines.append("| " + " | ".join(cells) + " |")
    if len(lines) == 2:
        raise ValueError("there is no such run")
    return "\n".join(lines)


def _gains(folder: Path, asked: Sequence[str]) -> str:
    """Return a Markdown table of metrics by datasets: one row of a table minus another."""
    keys = _keys(asked)
    digits = _digits(keys)
    datasets, labels = keys["datasets"].split(","), (keys["label"], keys["against"])
    title = " − ".join(label.replace("*", r"\*") for label in labels)
    lines = [f"| {title} | {' | '.join(datasets)} |", "| --- |" + " ---: |" * len(datasets)]
    rows = difference_rows(folder, keys["table"], keys["part"], labels, digits, datasets)
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _claims(root: Path, references: Sequence[str]) -> str:
    """Return a count and a Markdown table of the claims that the tables of references concern."""
    verdicts = judged(root, reference_tables(root, references))
    run = [verdict for verdict in verdicts if verdict.outcome != "not run"]
    return f"{count_line(verdicts)}.\n\n{overview(run)}"


def _digits(keys: dict[str, str]) -> dict[str, str]:
    """Take the metrics of a block, in their order, and the digits of each (empty: the metric's own)."""
    metrics = keys.pop("metrics", "").split(",")
    if metrics == [""]:
        raise ValueError("it names no `metrics`")
    digits = keys.pop("digits", "," * (len(metrics) - 1)).split(",")
    return dict(zip(metrics, digits, strict=True))


def _head(metrics: Iterable[str], datasets: Sequence[str]) -> list[str]:
    titles = " / ".join(METRICS[metric].heading for metric in metrics)
    return [f"| {titles} | " + " | ".join(datasets) + " |", "| --- |" + " ---: |" * len(datasets)]


def _keys(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if any(not value for _, _, value in pairs):
        raise ValueError("it needs words of the form key=value")
    return {key: value for key, _, value in pairs}


def _fits(row: Row, keys: Mapping[str, str]) -> bool:
    if unknown := set(keys) - set(row):
        raise ValueError(f"the file has no column {min(unknown)}")
    return all(row[key] == value for key, value in keys.items())


def _one(rows: Sequence[Row], keys: Mapping[str, str]) -> Row:
    """Return the one row that has these values."""
    found = [row for row in rows if _fits(row, keys)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} numbers of the file have {' '.join(f'{k}={v}' for k, v in keys.items())}")
    return found[0]


def _text(row: Row, digits: str) -> str:
    """Write a row's mean, with half of its interval where there is one."""
    if not row["value"]:
        return NONE
    text = written(float(row["value"]), row["metric"], digits)
    if row["low"] and row["high"]:
        text += f" ± {written((float(row['high']) - float(row['low'])) / 2, row['metric'], digits)}"
    return text
