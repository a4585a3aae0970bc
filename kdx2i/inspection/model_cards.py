"""Model cards of all shipped weights, as one page made from the provenance beside them: `docs/model-cards.md`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kdx2i.config import load_dataset
from kdx2i.files import sha256_file, write_text
from kdx2i.foreign import read_document
from kdx2i.tables.markdown import escape_markdown

PAGE = "docs/model-cards.md"
Facts = list[tuple[str, str]]

INTRODUCTION = """# Model cards

The weights that ship with the suite, a card for each, written by `kdx2i pages` from the provenance that lies beside
every file; a test compares. All are safetensors with numbers of half precision, made by the project's own commands
from the openly licensed emoji drawings (`docs/open-emoji.md`), and none is a model of the paper.

**Intended use.** To run the open presets without training everything first, and to try and compare methods of
distillation at small size. **Not intended**: pictures for people to use, claims about the paper's absolute numbers, any
judgement about people or real animals: the networks have seen emoji only, in the styles of a few design houses.

**Licence.** The weights are Apache-2.0 like the code. They learned from drawings under the licences that each card
names (credits: `benchmarks/datasets/open_emoji/ATTRIBUTION.md`); no share-alike drawing was used.
"""
LIMITS = {
    "teachers": (
        "Small networks on few thousand drawings: samples mix parts of drawings of one design house with colours of "
        "another, and fine lines break."
    ),
    "students": (
        "What stage 1 makes of an architecture: it has seen no data but its teacher's images, and knows no class of a "
        "data set before stage 2."
    ),
    "encoders": (
        "Retrieval on held-out classes is a little above chance: R-precision that uses it has a low ceiling, and "
        "words that no training caption has are dropped or unknown."
    ),
    "features": (
        "Distances in its space are those of emoji drawings; values of other feature networks are on other scales."
    ),
}
TITLES = {
    "teachers": "Teachers",
    "students": "Students of stage 1",
    "encoders": "Encoders",
    "features": "Feature network",
}


def render(root: Path) -> str:
    """Return the page; a card whose provenance states another file than lies there says so."""
    parts = [INTRODUCTION]
    for kind, title in TITLES.items():
        parts.append(f"## {title}\n\nLimits: {LIMITS[kind]}\n")
        for path in sorted((root / "benchmarks" / kind).glob("*.provenance.json")):
            record = read_document(path)
            parts.append(_card(root, path.name.removesuffix(".provenance.json"), kind, record))
    return "\n".join(parts)


def write(root: Path) -> Path:
    """Write `docs/model-cards.md` and return its path."""
    path = root / PAGE
    write_text(path, render(root))
    return path


def _card(root: Path, name: str, kind: str, record: Mapping[str, Any]) -> str:
    """Return one card."""
    weights = root / "benchmarks" / kind / f"{name}.safetensors"
    stated = record["sha256"]
    same = "" if sha256_file(weights) == stated else " (the file here is another one)"
    facts: Facts = [
        *_ABOUT[kind](root, name, record),
        ("file", f"`benchmarks/{kind}/{name}.safetensors`, {weights.stat().st_size / 1e6:.1f} MB"),
        ("SHA-256", f"`{stated}`{same}"),
        ("made on", f"{record['device']}, PyTorch {record['packages'].get('torch')}{_commit(record)}"),
    ]
    lines = [f"### {name}", "", "| | |", "| --- | --- |"]
    lines += [f"| {label} | {text if '`' in text else escape_markdown(text)} |" for label, text in facts]
    return "\n".join([*lines, ""])


def _commit(record: Mapping[str, Any]) -> str:
    commit = record.get("git_commit")
    return f", commit {commit[:12]}" if commit else ""


def _learned_from(root: Path, datasets: Mapping[str, int | None]) -> Facts:
    """Return the rows on what a network has learned from, and the licences of that."""
    licences = dict.fromkeys(load_dataset(root, name).licence for name in datasets)
    counted = [f"{name} ({count:,} images)" if count else name for name, count in datasets.items()]
    return [("trained on", ", ".join(counted)), ("licences of the drawings", "; ".join(licences))]


def _teacher(root: Path, name: str, record: Mapping[str, Any]) -> Facts:
    recipe = record["teacher"]
    facts = [
        ("what it is", f"{recipe['title']}: generator and discriminator, {recipe['resolution']} px"),
        *_learned_from(root, {recipe["dataset"]: record["images"]}),
        ("training", f"{record['images_seen']:,} images seen, batch {recipe['batch']}, seed {recipe['seed']}"),
        ("command", f"`kdx2i teacher {name}`"),
    ]
    scores = root / "benchmarks" / "teachers" / f"{name}.scores.json"
    if scores.is_file():
        found = read_document(scores)
        own, halves, copies = found["distances"]["samples"], found["distances"]["halves"], found["memorisation"]
        facts.append(
            (
                "measured",
                f"FID {own['FID']:.2f} of {found['samples']:,} samples to its training drawings in the features "
                f"{found['extractor']} (two halves of the drawings: {halves['FID']:.2f}); "
                f"{copies['copies']:.1f} % of the samples are nearer to a drawing than the nearest twentieth of "
                "drawings is to another one",
            )
        )
    return facts


def _student(root: Path, name: str, record: Mapping[str, Any]) -> Facts:
    spec, metrics = record["spec"], record["metrics"]
    iterations = spec["distill"]["iterations"]
    measures = [
        f"by {guidance}: L1 {values['l1']:.3f} to the teacher's image (best constant image {values['l1_constant']:.3f})"
        + (f", retrieval {values['retrieval']:.0f} %" if values.get("retrieval") is not None else "")
        for guidance, values in metrics["guidance"].items()
    ]
    verdict = {True: "distilled", False: "not distilled", None: "not measured"}[metrics.get("distilled")]
    return [
        ("what it is", f"{spec['architecture']}, transfer {spec['transfer']}, {spec['resolution']} px"),
        ("distilled from", f"`{spec['teacher_file']}`; no data"),
        ("training", f"{iterations:,} iterations, batch {spec['distill']['batch']}, seed {spec['seed']}"),
        ("command", f"`kdx2i student {name}`"),
        ("measured", f"{metrics['triplets']} held-out triplets; {'; '.join(measures)}"),
        ("verdict", f"{verdict}: {metrics.get('reason', '')}"),
    ]


def _encoder(root: Path, name: str, record: Mapping[str, Any]) -> Facts:
    recipe, found = record["encoder"], record["metrics"]["retrieval"]
    right = found["all"]
    return [
        ("what it is", f"{recipe['title']} ({recipe['kind']}), images of {recipe['resolution']} px"),
        *_learned_from(root, {recipe["dataset"]: record["images"]}),
        ("training", f"{record['images_seen']:,} images seen, batch {recipe['train']['batch']}, seed {recipe['seed']}"),
        ("command", f"`kdx2i encoder {name}`"),
        (
            "measured",
            f"the image's own condition found among {right['candidates']} of held-out classes for "
            f"{right['right']:.1f} % (chance {right['chance']:.1f} %; 95 % of random pairings stay below "
            f"{right['chance_95']:.1f} %)",
        ),
    ]


def _features(root: Path, name: str, record: Mapping[str, Any]) -> Facts:
    recipe = record["features"]
    return [
        ("what it is", f"{recipe['title']}: 128 features of images of {recipe['input_size']} px"),
        *_learned_from(root, record["images"]),
        ("training", f"{record['images_seen']:,} images seen, batch {recipe['batch']}, seed {recipe['seed']}"),
        ("command", f"`kdx2i features {name}`"),
        ("measured", "`benchmarks/features/open-drawings.md`; the ladder of its distances: `docs/metrics.md`"),
    ]


_ABOUT: Mapping[str, Callable[[Path, str, Mapping[str, Any]], Facts]] = {
    "teachers": _teacher,
    "students": _student,
    "encoders": _encoder,
    "features": _features,
}
