"""From a folder of one's own images and one's own teacher to a table, by the commands of docs/own-data.md."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repository import ROOT, clone, kdx2i, run

pytestmark = pytest.mark.workflow


def commands() -> list[list[str]]:
    """Return the four commands of the page, at the smallest sizes."""
    page = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    block = re.search(r"```sh\n(.*?)```", page, re.S)
    assert block is not None
    lines = block.group(1).replace("\\\n", " ").strip().splitlines()
    return [line.split("#")[0].replace("'", "").split() for line in lines]


def test_a_folder_becomes_a_table_in_four_commands(tmp_path: Path) -> None:
    root = clone(tmp_path / "repository")
    drawn = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / "photographs" / label).mkdir(parents=True)
        for number in range(6):
            pixels = drawn.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "photographs" / label / f"{number}.jpg")
    convert, describe, make, look = commands()
    assert convert[:2] == ["kdx2i", "teacher"]
    # The converted file of one's own StyleGAN, which tests of the readers of official files make.
    (root / convert[2]).parent.mkdir(parents=True, exist_ok=True)
    (root / convert[2]).write_bytes((root / "benchmarks/teachers/faces-r32-long.safetensors").read_bytes())
    assert kdx2i(root, *describe[1:], "--like", "open-smoke").returncode == 0
    done = run(root, *make)
    assert done.returncode == 0, done.stderr[-3000:]
    with (root / "results/pets/tables/table1.csv").open(encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["dataset"] == "animal-faces" and row["value"]]
    assert {row["label"] for row in rows} >= {"StarGANv2*", "Ours*"}
    assert kdx2i(root, *look[1:]).returncode == 0
