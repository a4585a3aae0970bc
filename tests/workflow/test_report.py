"""The report in the workflow, and Snakemake's own report, on made-up results."""

from pathlib import Path

import pytest
from made_up import finished
from repository import clone, snakemake
from workflows import CONFIG

pytestmark = pytest.mark.workflow
ARGUMENTS = ["--cores", "1", *CONFIG]


def test_the_workflow_makes_the_report_once_and_shows_its_parts(tmp_path: Path) -> None:
    root = clone(tmp_path / "copy")
    refused = snakemake(root, "report", "--cores", "1")
    assert refused.returncode == 1
    assert "preset open has no current table: make one first" in refused.stdout + refused.stderr
    finished(root)
    done = snakemake(root, "table1", "report", *ARGUMENTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Job stats" in done.stderr
    assert (root / "results/open-smoke/report.html").read_text().startswith("<!doctype html>")
    again = snakemake(root, "report", *ARGUMENTS)
    assert "Nothing to be done" in again.stdout + again.stderr

    own = snakemake(root, "table1", "report", *ARGUMENTS, "--report", "snakemake.html")
    assert own.returncode == 0, own.stdout + own.stderr
    page = (root / "snakemake.html").read_text()
    for category in ("Tables", "Sample grids", "Logs", "Comparison", "Report"):
        assert f'"{category.lower()}"' in page.lower()
    assert "means over seeds with 95 % intervals" in page
