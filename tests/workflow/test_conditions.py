"""A row of Table 2 by the workflow: label maps, from the drawings to the table and its control rows."""

import csv
from pathlib import Path

import pytest
import yaml
from repository import kdx2i, snakemake

pytestmark = pytest.mark.workflow

PRESET = {
    "name": "maps-smoke",
    "title": "two iterations of SPADE",
    "datasets": {"celebamask-hq": "open-face-parts"},
    "resolutions": {256: 32},
    "seeds": [0],
    "architectures": {
        "spade": {
            "networks": {"label_nc": 8, "ngf": 4, "hidden": 8, "ndf": 4},
            "train": {"iterations": 2, "batch": 2, "perceptual": "efficientnet-lite1"},
        }
    },
    "evaluation": {"extractor": "open-drawings", "preprocessing": "clean", "inception_score": "torch-fidelity"},
}
CONFIG = ("--config", "preset=maps-smoke")


def test_a_row_of_table_2_goes_from_label_maps_to_the_screen(copy: Path) -> None:
    (copy / "benchmarks" / "presets" / "maps-smoke.yaml").write_text(yaml.safe_dump(PRESET))
    done = snakemake(copy, "table2", "--cores", "1", *CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SPADE" in done.stdout + done.stderr
    with (copy / "results/maps-smoke/tables/table2.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["part"] == "ss2image"]
    values = {(row["label"], row["metric"]): row["value"] for row in rows}
    for label in ("SPADE", "Real against real", "Label maps shuffled", "Blank"):
        assert all(values[label, metric] for metric in ("FID", "KIDx100", "IS", "mIoU")), label
    assert float(values["Label maps shuffled", "mIoU"]) < float(values["Real against real", "mIoU"])
    assert not values["OASIS", "FID"], "a row that the preset does not have has no number"
    again = snakemake(copy, "table2", "--cores", "1", "-n", *CONFIG)
    assert again.returncode == 0 and "evaluate spade" not in again.stdout + again.stderr
    assert kdx2i(copy, "verify", "table2", "--preset", "maps-smoke").returncode == 0
