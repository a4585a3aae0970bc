"""The analysis of a user study, printed."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.study.analysis import Share, StudyResult


def print_study(result: StudyResult, console: Console) -> None:
    """Print preferences, strengths, agreement, and how the study compares with the paper's design."""
    grid = Grid(title="Ours preferred to", title_justify="left", title_style="bold")
    for heading, side in (
        ("row", "left"),
        ("pairs", "right"),
        ("share", "right"),
        ("95% interval", "right"),
        ("", "left"),
    ):
        grid.add_column(heading, justify=side)  # type: ignore[arg-type]
    for share in [*result.shares, *([result.overall] if result.overall else [])]:
        grid.add_row(escape(share.row), str(share.pairs), f"{100 * share.share:.1f} %", _interval(share), share.verdict)
    console.print(grid)
    strengths = Grid(title="Bradley-Terry strengths", title_justify="left", title_style="bold")
    for heading in ("row", "strength", "95% interval"):
        strengths.add_column(heading, justify="left" if heading == "row" else "right")
    for item in result.strengths:
        reach = "–" if item.low is None or item.high is None else f"{item.low:+.2f} to {item.high:+.2f}"
        strengths.add_row(escape(item.row), f"{item.strength:+.2f}", reach)
    console.print(strengths)
    for line in lines(result):
        console.print(escape(line), highlight=False)


def _interval(share: Share) -> str:
    if share.low is None or share.high is None:
        return "–"
    return f"{100 * share.low:.1f} to {100 * share.high:.1f} %"


def lines(result: StudyResult) -> list[str]:
    """Return what is to be known beside the numbers: subjects, agreement, the paper's design."""
    per_subject = result.planned_choices // result.planned_subjects
    told = [
        f"{result.subjects} of the paper's {result.planned_subjects} subjects, {result.choices} of "
        f"{result.planned_choices} choices ({per_subject} a subject); {result.complete} have finished."
    ]
    if result.careless:
        numbers = ", ".join(map(str, result.careless))
        told.append(f"Left out, since the attention checks failed: subject {numbers}.")
    if result.kappa is None:
        told.append("Agreement: no pair was judged differently by two subjects, so Fleiss' kappa is not defined.")
    else:
        told.append(
            f"Agreement: Fleiss' kappa {result.kappa:.2f} over {result.judged_twice} pairs judged at least twice."
        )
    if result.subjects < 2:
        told.append("No intervals: choices of one subject say nothing of others.")
    told.append("The paper draws Figure 3(c) without numbers: only which row is preferred can be compared.")
    return told
