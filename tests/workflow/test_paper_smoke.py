"""Rows of the preset `paper-smoke`, from made-up archives and random teachers to their verdicts.

Networks are as wide as published, at the published resolution. The other rows run in `.ci/nightly`.
"""

import math
from pathlib import Path

import one_row
import pytest

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize(
    ("table", "part", "label", "dataset"),
    [
        ("table1", "latent", "DMIT", "animal-faces"),
        ("table2", "audio2image", "S2IGAN", "oxford-102"),
    ],
)
def test_a_row_goes_from_its_archive_to_its_verdict(
    tmp_path: Path, table: str, part: str, label: str, dataset: str
) -> None:
    plan = one_row.row_alone(tmp_path / "repository", table, part, label, dataset)
    comparison = one_row.run_row(plan)
    own = [cell for cell in comparison.cells if cell.label == label]
    assert {cell.metric for cell in own} == set(plan.table(table).config.metrics_of(part))
    assert all(cell.reproduced is not None and math.isfinite(cell.reproduced) for cell in own)
    # Made-up data and a stand-in extractor: nothing of it may pass for a reproduction.
    assert {cell.verdict for cell in own} <= {"not comparable", "not learned"}
    page = plan.rendered(table).file(f"{table}.md").read_text()
    assert "efficientnet-lite0" in page and f"smoke-{dataset}" in page
