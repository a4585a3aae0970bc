"""Inputs that users of metric tools report, scored as they are: label maps, degenerate sets, names, several outputs."""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdx2i.cli import main
from kdx2i.metrics.segmentation.segmenter import TrainedSegmenter, UNet
from kdx2i.metrics.segmentation.settings import SegmenterSettings

OPTIONS = ["--extractor", "efficientnet-lite0", "--input-size", "32", "--device", "cpu"]


def picture(seed: int, width: int = 64, height: int = 64) -> np.ndarray:
    """A smooth picture (H, W, 3)."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def fill(folder: Path, count: int, seed: int, side: int = 64) -> Path:
    for number in range(count):
        save(folder / f"p{number:03d}.png", picture(seed + number, side, side))
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("real"), 6, 100)


def score(generated: Path, reference: Path, metrics: str, *words: object) -> int:
    asked = ["--generated", generated, "--reference", reference, "--metrics", metrics, *words]
    return main(["score", *map(str, asked), *OPTIONS])


def values(generated: Path, reference: Path, metrics: str, *words: object) -> dict[str, Any]:
    out = reference.parent / f"{os.getpid()}.json"
    assert score(generated, reference, metrics, *words, "--json", out) == 0
    return json.loads(out.read_text())["values"]  # type: ignore[no-any-return]


def write_four_bits(path: Path, numbers: np.ndarray) -> None:
    """Write a grey PNG of four bits a sample, of an even width."""
    rows = b"".join(b"\0" + bytes(row[0::2] << 4 | row[1::2]) for row in numbers)
    size = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], 4, 0, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_label_maps_score_by_the_numbers_that_they_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A segmenter of 19 classes with drawn weights: 7.1 % of three classes, 1.8 % of the numbers 0 and 1."""
    torch.manual_seed(0)
    settings, classes = SegmenterSettings(), tuple(f"c{number}" for number in range(19))
    TrainedSegmenter(settings, classes, 32, 10, UNet(settings.width, 19).eval()).save(tmp_path / "seg.safetensors")
    generated, reference = fill(tmp_path / "gen", 12, 0, 32), fill(tmp_path / "ref", 12, 100, 32)
    three = np.zeros((32, 32), np.uint8)
    three[:, 8:16], three[:, 16:] = 5, 9
    palette = Image.fromarray(np.searchsorted([0, 5, 9], three).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 5, 5, 5, 9, 9, 9])
    (tmp_path / "palette").mkdir()
    for number in range(12):
        name = f"p{number:03d}.png"
        save(tmp_path / "grey" / name, three)
        palette.save(tmp_path / "palette" / name)
        write_four_bits(tmp_path / "bits" / name, (three > 0).astype(np.uint8))

    def labelled(kind: str) -> list[object]:
        return ["--labels", tmp_path / kind, "--segmenter", tmp_path / "seg.safetensors"]

    found = [values(generated, reference, "miou", *labelled(kind))["mIoU"]["value"] for kind in ("grey", "bits")]
    assert found == [pytest.approx(7.1, abs=0.05), pytest.approx(1.8, abs=0.05)]
    assert score(generated, reference, "miou", *labelled("palette")) == 2
    assert "p000.png has a palette of greys that are not their indices" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["copy", os.fsdecode(b"caf\xe9")], ids=["plain", "no UTF-8"])
def test_a_copy_of_the_reference_has_no_distance_whatever_its_folder_is_called(
    name: str, real: Path, tmp_path: Path
) -> None:
    fid = values(fill(tmp_path / name, 6, 100), real, "fid")["FID"]["value"]
    assert fid == pytest.approx(0.0, abs=1e-6)
    assert fid >= 0


def test_sets_without_variance_have_the_distance_of_their_means(tmp_path: Path, real: Path) -> None:
    for name, level in (("black", 0), ("blacker", 0), ("white", 255)):
        for number in range(3):
            save(tmp_path / name / f"{number}.png", np.full((64, 64, 3), level, np.uint8))
    for number in range(3):
        save(tmp_path / "pixel" / f"{number}.png", picture(number)[:1, :1])
    black = tmp_path / "black"
    assert values(tmp_path / "blacker", black, "fid")["FID"]["value"] == pytest.approx(0.0, abs=1e-6)
    ahead, back = (
        values(*pair, "fid")["FID"]["value"] for pair in ((tmp_path / "white", black), (black, tmp_path / "white"))
    )
    assert ahead == pytest.approx(back, rel=1e-6)
    assert ahead > 0.1
    assert values(tmp_path / "pixel", real, "fid")["FID"]["value"] > 0
