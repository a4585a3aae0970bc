"""Differences between two rows of a reference for a page: half of a 95% interval beside each, and a word.

The interval is over seeds: a seed's value is its mean over machines, rows are paired by seed, and the variance of the
differences is pooled over the datasets of a metric (Student's t with all their degrees of freedom).
"""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from scipy import special

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import CONFIDENCE, mean
from kdx2i.tables.replicates import FILE, CellKey, Replicate, read_replicates

NOT_LEARNED = "a row has not learned"


def difference_rows(
    folder: Path, table: str, part: str, labels: tuple[str, str], metrics: Mapping[str, str], datasets: Sequence[str]
) -> list[list[str]]:
    """Return one line a metric: its heading, then for each dataset `difference ± half interval, word`.

    `labels`: the row, and the row that it is set against. `metrics`: digits by metric (empty: the metric's own).
    `ValueError` where the reference's `spread.csv` does not have both rows.
    """
    replicates = read_replicates(folder / FILE)
    unlearned = _unlearned(folder / "tables" / f"{table}.csv", part)
    lines = []
    for metric, digits in metrics.items():
        keys = [tuple(CellKey(table, part, label, dataset, metric) for label in labels) for dataset in datasets]
        differences = [_by_seed(replicates, *pair) for pair in keys]
        reach = _half_width(differences)
        texts = []
        for dataset, values in zip(datasets, differences, strict=True):
            difference = mean(list(values.values()))
            word = _word(metric, difference, reach)
            if any((label, dataset) in unlearned for label in labels):
                word = NOT_LEARNED
            texts.append(f"{_signed(metric, difference, digits)} ± {written(reach, metric, digits)}, {word}")
        lines.append([METRICS[metric].heading, *texts])
    return lines


def _by_seed(replicates: Sequence[Replicate], cell: CellKey, against: CellKey) -> dict[int, float]:
    """Return the differences of two cells by seed, over the seeds that both have."""
    means = []
    for key in (cell, against):
        values: dict[int, list[float]] = {}
        for item in replicates:
            if item.cell == key:
                values.setdefault(item.seed, []).append(item.value)
        means.append({seed: mean(numbers) for seed, numbers in values.items()})
    first, second = means
    both = sorted(set(first) & set(second))
    if not both:
        raise ValueError(f"no seed has {cell.label} and {against.label} on {cell.dataset} by {cell.metric}")
    return {seed: first[seed] - second[seed] for seed in both}


def _half_width(differences: Sequence[Mapping[int, float]]) -> float:
    """Return half of the interval of one dataset's mean difference; infinite with a single seed."""
    freedom = sum(len(values) - 1 for values in differences)
    if freedom < 1:
        return math.inf
    squares = math.fsum((d - mean(list(values.values()))) ** 2 for values in differences for d in values.values())
    seeds = min(len(values) for values in differences)
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(squares / freedom / seeds)


def _word(metric: str, difference: float, reach: float) -> str:
    if abs(difference) <= reach:
        return "cannot tell"
    return "better" if METRICS[metric].goodness(difference) > 0 else "worse"


def _unlearned(path: Path, part: str) -> set[tuple[str, str]]:
    """Return the rows and datasets of a table's part that have not learned."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == part]
    return {(row["label"], row["dataset"]) for row in rows if row.get("learned") == "no"}


def written(number: float, metric: str, digits: str) -> str:
    """Write a number with so many digits, or with the metric's own where `digits` is empty."""
    return f"{number:.{int(digits)}f}" if digits else METRICS[metric].text(number)


def _signed(metric: str, number: float, digits: str) -> str:
    text = written(abs(number), metric, digits)
    return ("−" if number < 0 else "+") + text
