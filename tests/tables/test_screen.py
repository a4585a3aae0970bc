"""What a terminal of 80 columns shows: every line fits, and says what the numbers say."""

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kdx2i.config import load_table, names_in
from kdx2i.config.claims import load_claims
from kdx2i.tables.claims import judge_claims
from kdx2i.tables.claims_text import print_claims
from kdx2i.tables.comparison import compare
from kdx2i.tables.comparison_screen import SHOWN, print_comparison
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.model import Cell, Table
from kdx2i.tables.published import read_published
from kdx2i.tables.screen import UNLEARNED_MARK, WIDTH, compact, print_table

ROOT = Path(__file__).parents[2]
TABLES = {name: load_table(ROOT, name) for name in names_in(ROOT / "benchmarks" / "tables")}
REFERENCES = sorted(
    path for path in ROOT.glob("results/reference/*/tables/*.json") if not path.name.endswith(".provenance.json")
)


def shown(table: Table, file: str = "results/x/tables/x.md", width: int = WIDTH) -> list[str]:
    buffer = io.StringIO()
    print_table(table, read_published(ROOT, table.name), Console(file=buffer, width=width), file=file)
    return buffer.getvalue().splitlines()


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: "-".join(path.parts[-3::2]))
def test_a_committed_table_fits_and_has_its_numbers_and_the_papers(path: Path) -> None:
    table = load_table_json(path)
    lines = shown(table)
    assert max(map(len, lines)) <= WIDTH
    text = "\n".join(lines)
    for part in table.parts:
        for row in part.methods():
            for cell in row.cells:
                if cell.mean is not None:
                    assert compact(cell) in text
    printed = list(read_published(ROOT, table.name).values())
    measured = {cell.dataset for part in table.parts for row in part.methods() for cell in row.cells if cell.values}
    assert all(value.printed in text for value in printed if value.name.dataset in measured)
    unlearned = {(row.label, c.dataset) for part in table.parts for row in part.methods() for c in row.cells
                 if not c.learned}  # fmt: skip
    legend = " ".join(lines[max(n for n, line in enumerate(lines) if line.startswith("Cells: here (")) :])
    assert (f" {UNLEARNED_MARK} not learned" in legend) == bool(unlearned)
    assert lines[-1].endswith("results/x/tables/x.md")
    assert "Stand-ins (" in legend and "compare orders and gains, not values" in legend
    # Every sign of the rows has its meaning below, and no meaning is there without its sign.
    rows = "\n".join(lines[: -len(legend.splitlines())])
    for sign, meaning in (
        ("²", "² its"),
        ("§", "§ its first stage"),
        (" ref.", "ref.: given"),
        ("real…blank ", "real…blank:"),
    ):
        assert (sign in rows.partition("Cells:")[0]) == (meaning in legend)


def test_table_1_leaves_ten_lines_of_sixty_to_what_is_said_of_it() -> None:
    table = load_table_json(ROOT / "results/reference/open/tables/table1.json")
    caption = " ".join(TABLES["table1"].caption.split())
    assert len(shown(table.model_copy(update={"caption": caption}))) <= 50


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("size", [1.0, 1e4, 1e9])
def test_no_number_is_too_wide(kit: Any, name: str, size: float) -> None:
    table = kit.table(TABLES[name], lambda key, seed, metric: -size * (1 + seed), stand_in=True)
    assert max(map(len, shown(table))) <= WIDTH


def test_a_narrower_terminal_has_the_same_numbers_in_more_lines(kit: Any) -> None:
    table = kit.table(TABLES["table1"], lambda key, seed, metric: 10.0 + seed, stand_in=True)
    lines = shown(table, width=60)
    assert max(map(len, lines)) <= 60
    assert len(lines) > len(shown(table))


def test_a_dataset_without_any_number_is_one_reason(kit: Any) -> None:
    value = lambda key, seed, metric: None if key.dataset == "birds" else 5.0 + seed  # noqa: E731
    lines = shown(kit.table(TABLES["table1"], value))
    at = next(number for number, line in enumerate(lines) if line.startswith("birds"))
    assert lines[at + 1].startswith("– not available")
    assert lines[at + 2].startswith("foods ─")


def test_without_a_file_the_notes_follow(kit: Any) -> None:
    table = kit.table(TABLES["table1"], lambda key, seed, metric: 10.0 + seed, stand_in=True, iterations=40)
    lines = shown(table, file="")
    assert max(map(len, lines)) <= WIDTH
    assert "generator updates" in " ".join(lines)
    assert "generator updates" not in " ".join(shown(table))


@given(st.floats(-1e4, 1e4), st.floats(0, 1e3))
def test_a_number_is_short_and_near_its_value(mean: float, half: float) -> None:
    cell = Cell(dataset="d", metric="mKIDx100", mean=mean, interval=(mean - half, mean + half))
    value, _, reach = compact(cell).partition("±")
    assert abs(float(value) - mean) <= max(half, 0.01)
    assert abs(float(reach) - half) <= max(0.1 * half, 0.005 + 1e-9)
    alone = compact(cell.model_copy(update={"interval": None}))
    assert len(alone) <= 6
    assert abs(float(alone) - mean) <= max(0.005 + 1e-9, 0.001 * abs(mean))


def printed(comparison: Any, *, every: bool = False) -> list[str]:
    buffer = io.StringIO()
    print_comparison(comparison, Console(file=buffer, width=200 if every else WIDTH), every=every)
    return buffer.getvalue().splitlines()


def test_a_comparison_counts_first_and_shows_the_gains_that_go_against_the_paper_first() -> None:
    table = load_table_json(ROOT / "results/reference/open/tables/table1.json")
    comparison = compare([table], {"table1": read_published(ROOT, "table1")})
    lines = printed(comparison)
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].startswith("132 cells of preset open: ")
    assert len(lines) < 30
    counted = {name: comparison.count(name) for name in ("not learned", "not comparable")}
    assert all(f"{number} {name}" in lines[0] for name, number in counted.items())
    clear = [g for g in comparison.gains if g.low is not None and g.high is not None and (g.low > 0 or g.high < 0)]
    against = sum(gain.agrees is False for gain in clear)
    rows = [line for line in lines if line.rstrip().endswith((" yes", " no"))]
    assert [line.rstrip().endswith(" no") for line in rows[: len(clear)]] == [True] * against + [False] * (
        min(len(clear), SHOWN) - against
    )
    whole = printed(comparison, every=True)
    assert sum("not comparable" in line for line in whole) == counted["not comparable"] + 1


def test_under_the_papers_conditions_the_cells_come_first(kit: Any) -> None:
    table = kit.table(TABLES["table1"], lambda key, seed, metric: 50.0 + seed)
    lines = printed(compare([table], {"table1": read_published(ROOT, "table1")}))
    assert max(map(len, lines)) <= WIDTH
    assert "really different" in "\n".join(lines[:6])
    assert f"and {132 - SHOWN} more cells" in lines


def test_claims_fit_and_say_what_was_found() -> None:
    table = load_table_json(ROOT / "results/reference/open/tables/table1.json")
    parts = {(n, part.name): config.datasets_of(part.name) for n, config in TABLES.items() for part in config.parts}
    verdicts = judge_claims(load_claims(ROOT), {"table1": table}, {n: read_published(ROOT, n) for n in TABLES}, parts)
    for why in (False, True):
        buffer = io.StringIO()
        print_claims(verdicts, Console(file=buffer, width=WIDTH), why=why)
        lines = buffer.getvalue().splitlines()
        assert max(map(len, lines)) <= WIDTH
        for verdict in verdicts:
            if verdict.outcome != "not run":
                assert any(line.startswith(verdict.outcome) and verdict.says in line for line in lines)
        assert ("“" in buffer.getvalue()) is why
