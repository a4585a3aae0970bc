"""From a folder of one's own images and one's own teacher to a table, by the commands of docs/own-data.md."""

import csv
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from repository import ROOT, clone, kdx2i, snakemake

from kdx2i.teacher.official import rosinality
from kdx2i.teacher.stylegan2 import Discriminator, Generator

pytestmark = pytest.mark.workflow


def commands() -> list[list[str]]:
    """Return the four commands of the page, at the smallest sizes."""
    page = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    block = re.search(r"```sh\n(.*?)```", page, re.S)
    assert block is not None
    lines = block.group(1).replace("\\\n", " ").strip().splitlines()
    return [line.split("#")[0].replace("'", "").split() for line in lines]


def own_stylegan(path: Path) -> None:
    """Write a random StyleGAN2 of 32 px as rosinality's training saves one."""
    specification = importlib.util.spec_from_file_location("official_files", ROOT / "tests/teacher/official_files.py")
    assert specification is not None
    assert specification.loader is not None
    writer = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(writer)
    widths = (16, 16, 8, 8)
    generator = Generator(rosinality.generator_config(32, 12, 3, widths))
    discriminator = Discriminator(rosinality.discriminator_config(32, widths))
    torch.save({"g_ema": writer.official_state(generator, 32), "d": writer.official_state(discriminator, 32)}, path)


def test_a_folder_becomes_a_table_in_four_commands(tmp_path: Path) -> None:
    root = clone(tmp_path / "repository")
    drawn = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / "photographs" / label).mkdir(parents=True)
        for number in range(6):
            pixels = drawn.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "photographs" / label / f"{number}.jpg")
    own_stylegan(root / "mine.pt")
    convert, describe, make, look = commands()
    assert kdx2i(root, *convert[1:]).returncode == 0
    assert kdx2i(root, *describe[1:], "--like", "open-smoke").returncode == 0
    assert make[0] == "snakemake"
    done = snakemake(root, *make[1:])
    assert done.returncode == 0, done.stderr[-3000:]
    with (root / "results/pets/tables/table1.csv").open(encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["dataset"] == "animal-faces" and row["value"]]
    assert {row["label"] for row in rows} >= {"StarGANv2*", "Ours*"}
    assert kdx2i(root, *look[1:]).returncode == 0
