"""Label maps: the published ones by the names of the split, resized by nearest centres, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from kdx2i.config import load_dataset
from kdx2i.data.label_maps import FACE_PARTS, label_classes, load_label_maps
from kdx2i.data.readers import build_reader
from kdx2i.data.rows import Row
from kdx2i.errors import UserError

ROOT = Path(__file__).parents[2]
FILE = "benchmarks/datasets/open_emoji/face_parts_128.npz"


def row(source: str) -> Row:
    return Row("images/a/b.png", "a", "train", "", source, "", "")


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(ROOT, "open-face-parts")


def test_every_image_of_the_split_has_a_map(dataset) -> None:
    rows = [row(entry.source) for entry in build_reader(dataset, ROOT).entries()]
    maps = load_label_maps(dataset, ROOT, rows, 64)
    assert (maps.shape, maps.dtype) == ((432, 64, 64), torch.uint8)
    assert label_classes(dataset) == FACE_PARTS
    # Ground and face are in every picture, and no label is beyond the named ones.
    counts = torch.stack([torch.bincount(one.flatten(), minlength=len(FACE_PARTS)) for one in maps])
    assert counts.shape[1] == len(FACE_PARTS)
    assert bool((counts[:, :2] > 0).all())


def test_maps_come_in_the_order_of_the_rows_and_are_resized_by_centres(dataset) -> None:
    with np.load(ROOT / FILE) as stored:
        keys, labels = stored["keys"], torch.from_numpy(stored["labels"])
    chosen = [7, 2]
    rows = [row(str(keys[number])) for number in chosen]
    assert torch.equal(load_label_maps(dataset, ROOT, rows, 128), labels[chosen])
    assert torch.equal(load_label_maps(dataset, ROOT, rows, 64), labels[chosen][:, 1::2, 1::2])


def test_what_is_missing_or_changed_is_one_sentence(dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no label map of noto:nothing \(1 such images\)"):
        load_label_maps(dataset, ROOT, [row("noto:nothing")], 64)
    with pytest.raises(UserError, match="dataset open-birds has no label maps"):
        label_classes(load_dataset(ROOT, "open-birds"))
    (tmp_path / FILE).parent.mkdir(parents=True)
    with pytest.raises(UserError, match="does not exist"):
        load_label_maps(dataset, tmp_path, [], 64)
    shutil.copyfile(ROOT / FILE, tmp_path / FILE)
    with (tmp_path / FILE).open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(UserError, match="SHA-256 differs"):
        load_label_maps(dataset, tmp_path, [], 64)
