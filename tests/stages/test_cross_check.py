"""clean-fid and torch-fidelity on the same folders, and what differs between two folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kdx2i.cli import main

OPTIONS = ["--extractor", "efficientnet-lite0", "--input-size", "32", "--device", "cpu"]


def fill(folder: Path, count: int, seed: int, *, side: int = 32, suffix: str = "png", brightest: int = 256) -> Path:
    folder.mkdir()
    drawn = np.random.default_rng(seed)
    for number in range(count):
        coarse = Image.fromarray(drawn.integers(0, brightest, (4, 4, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BILINEAR).save(folder / f"{number:02}.{suffix}")
    return folder


def scored(tmp_path: Path, *more: str) -> dict[str, Any]:
    words = ["score", "--generated", str(tmp_path / "generated"), "--reference", str(tmp_path / "real"), *OPTIONS]
    assert main([*words, *more, "--json", str(tmp_path / "values.json")]) == 0
    document: dict[str, Any] = json.loads((tmp_path / "values.json").read_text())
    return document


def test_the_libraries_agree_where_they_compute_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "generated", 30, 1)
    fill(tmp_path / "real", 30, 2, brightest=180)
    document = scored(tmp_path, "--cross-check", "--metrics", "fid,kid,is")
    rows = {(row["library"], row["metric"]): row for row in document["cross_check"]}
    assert set(rows) == {
        ("clean-fid", "FID"), ("clean-fid", "KIDx100"),
        ("torch-fidelity", "FID"), ("torch-fidelity", "KIDx100"), ("torch-fidelity", "IS"),
    }  # fmt: skip
    for (library, metric), row in rows.items():
        assert row["own"] == document["values"][metric]["value"]
        # FID at fewer images than features needs a root that the libraries take inexactly.
        near = {"FID": 2e-2, "KIDx100": 1e-2, "IS": 1e-4}[metric]
        assert row["value"] == pytest.approx(row["own"], rel=near), (library, metric)
    assert "The same folders by clean-fid and torch-fidelity" in capsys.readouterr().out
    assert document["differences"] == []


def test_formats_sizes_and_depths_that_differ_are_remarked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "generated", 4, 1)
    real = fill(tmp_path / "real", 4, 2, side=40, suffix="jpg")
    deep = Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40)
    deep.save(real / "deep.png")
    document = scored(tmp_path, "--metrics", "kid")
    formats, sizes, depths = document["differences"]
    assert "generated 4 png, reference 4 jpeg, 1 png" in formats
    assert "generated 32 x 32, reference 40 x 40 px" in sizes
    assert "1 reference images have 16 bits" in depths
    assert "compression alone moves FID" in capsys.readouterr().out


def test_archives_are_not_cross_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "generated", 4, 1)
    (tmp_path / "real.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    words = ["score", "--generated", str(tmp_path / "generated"), "--reference", str(tmp_path / "real.zip")]
    assert main([*words, *OPTIONS, "--cross-check"]) == 2
    assert "error" in capsys.readouterr().err
