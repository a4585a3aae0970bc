"""What the paper states: the claims exist in its text and tables, and numbers decide them as the rules say."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from kdx2i.config import load_table, names_in
from kdx2i.config.claims import Claim, ClaimCells, load_claims, pairs
from kdx2i.errors import UserError
from kdx2i.tables.claims import ClaimVerdict, judge_claims
from kdx2i.tables.claims_text import as_document, render_markdown, write_claims
from kdx2i.tables.intervals import mean, mean_interval
from kdx2i.tables.learning import Learning
from kdx2i.tables.model import Cell, Context, Table, TablePart, TableRow
from kdx2i.tables.power import seeds_that_tell
from kdx2i.tables.published import read_published

ROOT = Path(__file__).parents[2]
PAPER = ROOT.parent / "shared" / "paper" / "kdx2i-paper.md"
CLAIMS = load_claims(ROOT)
TABLES = {name: load_table(ROOT, name) for name in names_in(ROOT / "benchmarks" / "tables")}
PARTS = {(name, part.name): table.datasets_of(part.name) for name, table in TABLES.items() for part in table.parts}
PRINTED = {name: read_published(ROOT, name) for name in TABLES}
UNLEARNED = Learning(metric="mFID", trained=2.0, untrained=1.0, learned=False)

Seeds = Mapping[int, float]


def plain(text: str) -> str:
    """The text without Markdown's emphasis, and with single spaces: the paper's words alone."""
    return " ".join(text.replace("*", "").split())


def test_every_claim_stands_in_the_paper() -> None:
    if not PAPER.is_file():
        pytest.skip(f"the paper's text is not here: {PAPER}")
    paper = plain(PAPER.read_text(encoding="utf-8"))
    assert [claim.id for claim in CLAIMS if plain(claim.quote) not in paper] == []


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_about_published_cells_and_its_numbers_are_theirs(claim: Claim) -> None:
    labels: dict[str, list[str]] = {}
    for pair in pairs(claim, PARTS):
        table = TABLES[pair.table]
        assert (pair.part, pair.better) in {(row.part, row.label) for row in table.rows}
        labels.setdefault(pair.table, []).extend((pair.better, pair.than))
    own = {v.printed for name, rows in labels.items() for v in PRINTED[name].values() if v.name.label in rows}
    assert own
    assert set(re.findall(r"\d+\.\d+|\b130\b", claim.quote)) <= own


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_papers_own_numbers_show_what_it_claims(claim: Claim) -> None:
    """Where both numbers are printed they show the gain that counts, or for a claim about a mean their mean does."""
    (verdict,) = judge_claims([claim], {}, PRINTED, PARTS)
    assert verdict.outcome == "not run"
    printed = [pair.printed for pair in verdict.pairs if pair.printed is not None]
    assert len(printed) == verdict.printed_of
    if not printed:
        assert claim.cells[0].table == "figure3b"  # the text prints three of its fifteen numbers
    elif claim.over == "mean":
        assert mean(printed) > claim.effect
    else:
        assert verdict.printed == verdict.printed_of


def test_there_are_about_thirty_claims_of_every_table() -> None:
    assert 30 <= len(CLAIMS) <= 40
    assert {table for claim in CLAIMS for table in claim.tables} == set(TABLES)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"table": "table9"}, "claim one: there is no table `table9`"),
        ({"parts": ["sideways"]}, "claim one: table1 has no part `sideways`"),
        ({"better": "Theirs"}, "part latent of table1 has no row `Theirs`"),
        ({"metrics": ["LPIPS"]}, "part latent of table1 has no metric `LPIPS`"),
        ({"datasets": ["cats"]}, "part latent of table1 has no dataset `cats`"),
    ],
)
def test_a_claim_about_what_is_not_there_is_one_sentence(
    tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    cells = {"table": "table1", "parts": ["latent"], "metrics": ["mFID"], "better": "Ours", "than": ["SDIT"], **change}
    claim = {"id": "one", "section": "4", "quote": "x", "says": "y", "effect": 0.0, "cells": [cells]}
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/tables").symlink_to(ROOT / "benchmarks/tables")
    path = tmp_path / "benchmarks/claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [claim]}))
    with pytest.raises(UserError, match=re.escape(sentence)):
        load_claims(tmp_path)
    path.write_text(yaml.safe_dump({"claims": [{**claim, "cells": []}, claim]}))
    with pytest.raises(UserError, match=r"benchmarks/claims.yaml: key `claims.0.cells`"):
        load_claims(tmp_path)


# -- the rules, on made-up tables of one part ------------------------------------------------------------------------


def cell(dataset: str, metric: str, values: Seeds, learning: Learning | None = None) -> Cell:
    numbers = tuple(values[seed] for seed in sorted(values))
    interval = mean_interval(numbers)
    return Cell(
        dataset=dataset,
        metric=metric,
        seeds=tuple(sorted(values)),
        values=numbers,
        mean=mean(numbers) if numbers else None,
        interval=None if interval is None else (interval.low, interval.high),
        absent=() if numbers else ("not computed",),
        learning=learning,
    )


def table(rows: Mapping[str, Mapping[tuple[str, str], Seeds]], unlearned: tuple[tuple[str, str], ...] = ()) -> Table:
    """A table of one part: rows by label, each with its values by (dataset, metric) and seed."""
    columns = list(next(iter(rows.values())))
    made = tuple(
        TableRow(
            kind="method",
            label=label,
            resolution=128,
            cells=tuple(
                cell(d, m, values, UNLEARNED if (label, d) in unlearned else None) for (d, m), values in by.items()
            ),
        )
        for label, by in rows.items()
    )
    datasets, metrics = (tuple(dict.fromkeys(names)) for names in zip(*columns, strict=True))
    part = TablePart(name="latent", title="", mode="latent", datasets=datasets, metrics=metrics, rows=made)
    context = Context(
        preset="x", title="", datasets={}, resolutions={}, seeds=(0,), extractor="x", preprocessing="clean"
    )
    return Table(name="table1", title="", caption="", context=context, parts=(part,))


def claim(better: str, *than: str, effect: float = 0.05, over: str = "each", metric: str = "mFID") -> Claim:
    cells = ClaimCells(table="table1", parts=["latent"], metrics=[metric], better=better, than=list(than))
    return Claim(id="c", section="4", quote="q", says="s", effect=effect, over=over, cells=[cells])


def judged(asked: Claim, made: Table) -> ClaimVerdict:
    parts = {("table1", "latent"): made.parts[0].datasets}
    (verdict,) = judge_claims([asked], {"table1": made}, {"table1": {}}, parts)
    return verdict


def two_rows(ours: list[Seeds], base: list[Seeds], metric: str = "mFID", **more: object) -> Table:
    """Rows A and B on as many datasets as there are lists."""
    return table(
        {
            "A": {(f"d{number}", metric): values for number, values in enumerate(ours)},
            "B": {(f"d{number}", metric): values for number, values in enumerate(base)},
        },
        **more,
    )


positive = st.floats(1.0, 1000.0)
gain = st.floats(0.06, 0.9)


@given(st.lists(st.tuples(positive, gain), min_size=1, max_size=3), st.integers(2, 6), st.sampled_from(["mFID", "RC"]))
def test_seeds_without_noise_in_the_claims_direction_support_it_and_exchanged_contradict_it(
    columns: list[tuple[float, float]], seeds: int, metric: str
) -> None:
    sign = -1 if metric == "mFID" else 1
    base = [dict.fromkeys(range(seeds), value) for value, _ in columns]
    ours = [dict.fromkeys(range(seeds), value * (1 + sign * share)) for value, share in columns]
    made = two_rows(ours, base, metric)
    assert judged(claim("A", "B", metric=metric), made).outcome == "supported"
    assert judged(claim("B", "A", metric=metric), made).outcome == "contradicted"
    if metric == "mFID":
        assert judged(claim("A", "B", over="mean"), made).outcome == "supported"
        assert judged(claim("B", "A", over="mean"), made).outcome == "contradicted"


noisy = st.lists(st.tuples(st.floats(50.0, 150.0), st.floats(50.0, 150.0)), min_size=2, max_size=5)


@given(noisy, gain)
def test_enough_seeds_without_noise_support_a_claim_whatever_the_first_ones_said(
    first: list[tuple[float, float]], share: float
) -> None:
    more = range(len(first), len(first) + 200)
    base = {seed: b for seed, (_, b) in enumerate(first)} | dict.fromkeys(more, 100.0)
    ours = {seed: a for seed, (a, _) in enumerate(first)} | dict.fromkeys(more, 100.0 * (1 - share) - 5.0)
    assert judged(claim("A", "B"), two_rows([ours], [base])).outcome == "supported"


@given(noisy, noisy)
def test_exchanging_the_rows_turns_supported_into_contradicted(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    rows = [[{seed: pair[side] for seed, pair in enumerate(d)} for d in (first, second)] for side in (0, 1)]
    made = two_rows(*rows)
    for over in ("each", "mean"):
        there, back = (judged(claim(*names, over=over), made).outcome for names in (("A", "B"), ("B", "A")))
        if there == "supported":
            assert back == "contradicted"
        assert not there == back == "supported"


@given(noisy, noisy, st.sampled_from(["A", "B"]))
def test_a_cell_that_has_not_learned_never_decides(
    first: list[tuple[float, float]], second: list[tuple[float, float]], label: str
) -> None:
    rows = [[{seed: pair[side] for seed, pair in enumerate(d)} for d in (first, second)] for side in (0, 1)]
    worse = [[rows[0][0], dict.fromkeys(rows[0][1], 1.0)], [rows[1][0], dict.fromkeys(rows[1][1], 900.0)]]
    for over in ("each", "mean"):
        asked = claim("A", "B", over=over)
        seen = [judged(asked, two_rows(*values, unlearned=((label, "d1"),))) for values in (rows, worse)]
        assert seen[0].model_dump(exclude={"pairs"}) == seen[1].model_dump(exclude={"pairs"})
        assert [verdict.pairs[1].outcome for verdict in seen] == ["not learned"] * 2
        nothing = judged(asked, two_rows(*rows, unlearned=((label, "d0"), (label, "d1"))))
        assert (nothing.outcome, nothing.judged, nothing.needed) == ("cannot tell", 0, None)
        assert "longer training would tell" in nothing.why


def test_one_seed_tells_nothing_and_no_number_is_not_run() -> None:
    one = judged(claim("A", "B"), two_rows([{0: 1.0}], [{0: 100.0}]))
    assert (one.outcome, one.needed) == ("cannot tell", None)
    assert "one seed" in one.why
    for over in ("each", "mean"):
        none = judged(claim("A", "B", over=over), two_rows([{}], [{0: 1.0, 1: 1.0}]))
        assert (none.outcome, none.why) == ("not run", "A has no number: not computed")


def test_a_claim_of_which_most_is_missing_is_not_supported() -> None:
    rows = {name: {("d0", "mFID"): dict.fromkeys(range(3), value)} for name, value in (("A", 1.0), ("B", 9.0))}
    rows |= {name: {("d0", "mFID"): {}} for name in ("C", "D")}
    verdict = judged(claim("A", "B", "C", "D"), table(rows))
    assert (verdict.outcome, verdict.judged, verdict.of) == ("cannot tell", 1, 3)
    assert judged(claim("A", "B", "C"), table(rows)).outcome == "supported"


def test_a_gain_that_is_smaller_than_what_counts_contradicts() -> None:
    made = two_rows([dict.fromkeys(range(3), 98.0)], [dict.fromkeys(range(3), 100.0)])
    assert judged(claim("A", "B", effect=0.05), made).outcome == "contradicted"
    assert judged(claim("A", "B", effect=0.01), made).outcome == "supported"
    assert judged(claim("B", "A", effect=-0.05), made).outcome == "supported"


def test_a_verdict_is_plain_arithmetic_on_paired_seeds() -> None:
    """Differences of 20, 30, 40 from a row of mean 100: deviation 10, t = 4.303 with two degrees of freedom."""
    made = two_rows([{0: 70.0, 1: 70.0, 2: 70.0}], [{0: 90.0, 1: 100.0, 2: 110.0}])
    verdict = judged(claim("A", "B"), made)
    pair = verdict.pairs[0]
    reach = 4.302653 * 10 / math.sqrt(3)
    assert (pair.difference, pair.low, pair.high) == pytest.approx((30, 30 - reach, 30 + reach), abs=1e-4)
    assert (pair.gain, pair.other) == pytest.approx((0.3, 100.0))
    assert verdict.outcome == "supported"
    assert judged(claim("A", "B", effect=0.1), made).outcome == "cannot tell"


def test_the_spread_is_pooled_over_datasets_and_the_level_split_over_comparisons() -> None:
    """Two datasets of three seeds: four degrees of freedom, t = 2.776, and 3.495 at half of the level."""
    base = {0: 90.0, 1: 100.0, 2: 110.0}
    made = two_rows([dict.fromkeys(base, 70.0), dict.fromkeys(base, 113.0)], [base, base])
    verdict = judged(claim("A", "B", effect=0.05), made)
    error = 10 / math.sqrt(3)
    first, second = verdict.pairs
    assert first.low == pytest.approx(30 - 2.776445 * error, abs=1e-4)
    assert second.high == pytest.approx(-13 + 2.776445 * error, abs=1e-4)
    assert second.high < 5  # alone it would contradict; at the level of both it does not
    assert -13 + 3.495406 * error > 5
    assert (first.outcome, second.outcome, verdict.outcome) == ("supported", "cannot tell", "cannot tell")


@given(st.floats(0.01, 2.0), st.floats(0.01, 2.0), st.integers(1, 3))
def test_a_larger_distance_never_needs_more_seeds(distance: float, deviation: float, columns: int) -> None:
    needed = seeds_that_tell(distance, deviation, columns=columns)
    nearer = seeds_that_tell(distance / 2, deviation, columns=columns)
    assert needed is None or needed >= 2
    assert nearer is None or (needed is not None and needed <= nearer)
    assert seeds_that_tell(0.0, deviation) is None
    assert seeds_that_tell(distance, 0.0) == 2


def test_the_number_of_seeds_tells_as_often_as_it_says() -> None:
    """Simulated: with the stated number four of five samples tell, with one less fewer."""
    needed = seeds_that_tell(0.1, 0.15)
    assert needed is not None
    samples = np.random.default_rng(0).normal(0.1, 0.15, (20000, needed))
    for seeds, tells in ((needed, True), (needed - 1, False)):
        part = samples[:, :seeds]
        score = part.mean(1) / (part.std(1, ddof=1) / math.sqrt(seeds))
        told = float((score > stats.t.isf(0.025, seeds - 1)).mean())
        assert (told >= 0.795) is tells


@given(noisy)
def test_what_cannot_be_told_says_how_many_seeds_would(first: list[tuple[float, float]]) -> None:
    rows = [[{seed: pair[side] for seed, pair in enumerate(first)}] for side in (0, 1)]
    verdict = judged(claim("A", "B", effect=0.0), two_rows(*rows))
    assume(verdict.outcome == "cannot tell")
    assert verdict.needed is None or verdict.needed > verdict.seeds == len(first)


def test_claims_are_written_whole(tmp_path: Path) -> None:
    verdicts = judge_claims(CLAIMS, {}, PRINTED, PARTS)
    paths = write_claims(verdicts, "preset x", tmp_path)
    document = json.loads(paths[0].read_text(encoding="utf-8"))
    assert document == as_document(verdicts, "preset x")
    assert document["counts"] == {"supported": 0, "contradicted": 0, "cannot tell": 0, "not run": len(CLAIMS)}
    assert [ClaimVerdict.model_validate(item) for item in document["claims"]] == list(verdicts)
    page = paths[1].read_text(encoding="utf-8")
    assert page == render_markdown(verdicts, "preset x")
    assert page.count("\n## ") == len(CLAIMS)
    for item in CLAIMS:
        assert plain(item.quote).split()[0] in page
