"""What numbers say of the paper's claims: as JSON, as Markdown and on the screen."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.files import write_text
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.claims import OUTCOMES, ClaimVerdict, PairVerdict, percent
from kdx2i.tables.markdown import escape_markdown

FORMAT = "kdx2i-claims-1"
_COLOURS = {"supported": "green", "contradicted": "red", "cannot tell": "yellow", "not run": "dim"}
_HEADINGS = ("row", "against", "where", "metric", "gain", "95 % interval", "seeds", "paper", "")


def as_document(verdicts: Sequence[ClaimVerdict], source: str) -> dict[str, object]:
    """Return claims.json: `source` is the preset or the references that were judged."""
    claims = [verdict.model_dump(mode="json") for verdict in verdicts]
    return {"format": FORMAT, "source": source, "counts": counts(verdicts), "claims": claims}


def counts(verdicts: Iterable[ClaimVerdict]) -> dict[str, int]:
    """Return how many claims have each outcome."""
    found = [verdict.outcome for verdict in verdicts]
    return {outcome: found.count(outcome) for outcome in OUTCOMES}


def count_line(verdicts: Sequence[ClaimVerdict]) -> str:
    """Return the counts in words: `5 supported, 1 contradicted, 2 cannot tell, 29 not run`."""
    return ", ".join(f"{number} {outcome}" for outcome, number in counts(verdicts).items())


def outcome_text(verdict: ClaimVerdict) -> str:
    """Return the outcome, with the number of seeds that would tell where it is known."""
    if verdict.needed is None:
        return verdict.outcome
    return f"{verdict.outcome} ({verdict.needed} seeds would, {verdict.seeds} here)"


def write_claims(verdicts: Sequence[ClaimVerdict], source: str, folder: Path) -> list[Path]:
    """Write `claims.json` and `claims.md` into a folder and return the paths."""
    paths = [folder / "claims.json", folder / "claims.md"]
    text = json.dumps(as_document(verdicts, source), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(paths[0], text + "\n")
    write_text(paths[1], render_markdown(verdicts, source))
    return paths


def render_markdown(verdicts: Sequence[ClaimVerdict], source: str) -> str:
    """Return the claims as a page: the overview, then each claim with the comparisons that it was judged by."""
    text = [f"# The paper's claims, by {escape_markdown(source)}", f"{count_line(verdicts)}.", overview(verdicts)]
    return "\n\n".join([*text, *(_section(verdict) for verdict in verdicts)]) + "\n"


def overview(verdicts: Iterable[ClaimVerdict]) -> str:
    """Return a Markdown table with one line a claim."""
    lines = ["| what is claimed | where | verdict | judged | why |", "| --- | --- | --- | ---: | --- |"]
    for verdict in verdicts:
        cells = (verdict.says, verdict.section, outcome_text(verdict), f"{verdict.judged} of {verdict.of}", verdict.why)
        lines.append("| " + " | ".join(map(escape_markdown, cells)) + " |")
    return "\n".join(lines)


def _section(verdict: ClaimVerdict) -> str:
    """Write one claim: the paper's words, the rule, the verdict and every comparison."""
    rule = "in every comparison" if verdict.over == "each" else "in the mean of the comparisons"
    least = f"a gain above {percent(verdict.effect)} {rule}"
    own = f"The paper's printed numbers show it in {verdict.printed} of {verdict.printed_of} comparisons."
    place = f"Section {verdict.section}" if verdict.section[0].isdigit() else verdict.section
    lines = [
        f"## {escape_markdown(verdict.says)}",
        f"> {escape_markdown(verdict.quote)}",
        f"{escape_markdown(place)}. Needs {least}. {own}",
        f"**{outcome_text(verdict)}**: {escape_markdown(verdict.why)}.",
    ]
    grid = [list(_HEADINGS), ["---", "---", "---", "---", "---:", "---:", "---:", "---:", "---"]]
    grid += [[escape_markdown(text) for text in _texts(pair)] for pair in verdict.pairs]
    return "\n\n".join([*lines, "\n".join(f"| {' | '.join(line)} |" for line in grid)])


def _texts(pair: PairVerdict) -> list[str]:
    """Write one comparison, in the order of `_HEADINGS`."""
    gain = pair.written(pair.difference)
    interval = "–" if pair.low is None else f"{pair.written(pair.low)} to {pair.written(pair.high)}"
    printed = "–" if pair.printed is None else percent(pair.printed)
    where = [f"{pair.table}, {pair.part}, {pair.dataset}", METRICS[pair.metric].title]
    outcome = pair.outcome if not pair.reason else f"{pair.outcome}: {pair.reason}"
    return [pair.better, pair.than, *where, gain, interval, str(pair.seeds), printed, outcome]


def print_claims(verdicts: Sequence[ClaimVerdict], console: Console, *, why: bool = False) -> None:
    """Print one line a claim that was run, for 80 columns; with `why`, what decided it and the paper's words below."""
    run = [verdict for verdict in verdicts if verdict.outcome != "not run"]
    for verdict in run:
        console.print(_line(verdict, seeds=not why), highlight=False)
        if why:
            for text, style in _reasons(verdict):
                console.print(_indented(escape(text), style), highlight=False)
    if not why and any(verdict.needed is not None for verdict in run):
        console.print("(5 seeds): so many in all would probably tell.", style="dim", highlight=False)


def _line(verdict: ClaimVerdict, *, seeds: bool) -> Grid:
    """Lay out one claim: the verdict in 12 columns, what is claimed beside it."""
    more = f" [dim]({verdict.needed} seeds)[/dim]" if seeds and verdict.needed is not None else ""
    line = Grid.grid(padding=(0, 2))
    line.add_column(width=12, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(f"[{_COLOURS[verdict.outcome]}]{verdict.outcome}[/]", escape(verdict.says) + more)
    return line


def _reasons(verdict: ClaimVerdict) -> Iterator[tuple[str, str]]:
    """Yield what decided a claim, and the sentence of the paper, with their styles."""
    told = f" {verdict.needed} seeds would tell." if verdict.needed is not None else ""
    left = verdict.of - verdict.judged
    out = f" {left} of {verdict.of} comparisons could not be made." if verdict.judged and left else ""
    yield f"{verdict.why}.{told}{out}", ""
    yield f"{verdict.section}: “{' '.join(verdict.quote.split())}”", "dim"


def _indented(text: str, style: str) -> Grid:
    block = Grid.grid(padding=(0, 2))
    block.add_column(width=12)
    block.add_column(overflow="fold", style=style)
    block.add_row("", text)
    return block
