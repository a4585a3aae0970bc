"""The ranking of protocols on the screen, with rich."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.inference import Fit, Inference, Misfit, few_names, ratio_text

SHOWN = 12
_COLOURS = {"clear": "green", "leaning": "cyan"}


def print_inference(
    inference: Inference,
    console: Console,
    *,
    conditions: Sequence[str] = (),
    absent: Mapping[str, str] | None = None,
    not_computed: Mapping[str, str] | None = None,
) -> None:
    """Print the verdict, the best protocols, and all that bounds them.

    `conditions` are the ways in which the runs are not the paper's: with any, the verdict says nothing about the
    paper, which is printed first and the ranking is marked as a demonstration.
    """
    console.print(f"[bold]{escape(inference.table)}: which protocol explains the published numbers[/bold]")
    if conditions:
        console.print(f"[yellow]{escape(stand_in_sentence(conditions))}[/yellow]")
    style = _COLOURS.get(inference.verdict, "yellow") if not conditions else "dim"
    console.print(f"[{style}]{escape(('demonstration only: ' if conditions else '') + inference.sentence)}[/]")
    if inference.ranking:
        console.print(_grid(inference, demonstration=bool(conditions)))
    for reason, names in _by_reason(inference.unranked).items():
        console.print(escape(f"- not ranked: {names}: {reason}"), style="dim")
    for extractor, reason in (not_computed or {}).items():
        console.print(escape(f"- not computed: {extractor}: {reason}"), style="dim")
    for reason, number in Counter((absent or {}).values()).items():
        console.print(escape(f"- {number} evaluation{'s' if number > 1 else ''} left out: {reason}"), style="dim")


def stand_in_sentence(conditions: Sequence[str]) -> str:
    """Say that nothing follows for the paper, and why."""
    more = f"; and {len(conditions) - 3} more" if len(conditions) > 3 else ""
    return (
        f"Nothing can be inferred about the published protocol: {'; '.join(conditions[:3])}{more}. "
        "The ranking below only demonstrates the method."
    )


def _by_reason(unranked: Mapping[str, str]) -> dict[str, str]:
    """Return the reasons with the protocols that they hold for; many are counted."""
    groups: dict[str, list[str]] = {}
    for name, reason in unranked.items():
        groups.setdefault(reason, []).append(name)
    return {r: ", ".join(names) if len(names) < 4 else f"{len(names)} protocols" for r, names in groups.items()}


def _grid(inference: Inference, *, demonstration: bool) -> Grid:
    """Lay out the best protocols; equal ones share a line."""
    title = f"{inference.cells} cells of {inference.evaluations} evaluations" + (
        " (demonstration)" if demonstration else ""
    )
    grid = Grid(title=title, title_justify="left", title_style="bold")
    grid.add_column("protocol", overflow="fold")
    grid.add_column("less likely by", justify="right")
    grid.add_column("first in", justify="right")
    for misfit in inference.ranking[0].misfits:
        grid.add_column(f"{METRICS[misfit.metric].title} off by", justify="right")
    seen: set[str] = set()
    lines: list[Fit] = []
    for fit in inference.ranking:
        if fit.protocol not in seen:
            seen |= {fit.protocol, *fit.same_as}
            lines.append(fit)
    for fit in lines[:SHOWN]:
        alike = f" (= {few_names(fit.same_as)})" if fit.same_as else ""
        odds = "–" if fit is lines[0] else ratio_text(fit.log_ratio)
        grid.add_row(escape(fit.protocol + alike), odds, f"{fit.share:.0%}", *map(_size, fit.misfits))
    if len(lines) > SHOWN:
        grid.caption = f"and {len(lines) - SHOWN} more"
    return grid


def _size(misfit: Misfit) -> str:
    """Write a typical misfit: in percent where it is a difference of logarithms, else in the metric's unit."""
    if misfit.logarithmic:
        return f"{100 * misfit.size:.0f} %"
    return METRICS[misfit.metric].text(misfit.size)
