"""Reading the conditions of a split: what was made comes back, label maps as ever, changed files are named."""

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from kdx2i.config import load_dataset
from kdx2i.data.conditions.reading import Conditions
from kdx2i.data.conditions.synthesiser import Synthesiser, voice_of
from kdx2i.data.rows import Split
from kdx2i.data.split import make_split
from kdx2i.errors import UserError

MAPS = "benchmarks/datasets/open_emoji/face_parts_128.npz"


@pytest.fixture
def split(flowers, tmp_path):
    make_split(flowers(), tmp_path, tmp_path / "flowers", progress=False)
    return Split(tmp_path / "flowers")


def test_captions_and_their_utterances_come_back_in_order(split):
    conditions = Conditions(split)
    for number, row in enumerate(split.select("test"), start=4):
        captions = conditions.captions(row)
        assert captions == ["a flower", f"a lily flower, number {number}"]
        waveforms = conditions.waveforms(row)
        assert [waveform.dtype for waveform in waveforms] == [torch.int16] * 2
        for caption, waveform in zip(captions, waveforms, strict=True):
            assert np.array_equal(waveform.numpy(), Synthesiser().say(caption, voice_of(row.source)))


def test_label_maps_are_resized_by_the_label_under_each_centre(split):
    conditions, rows = Conditions(split), split.select("train")
    assert conditions.labels == ("ground", "leaf", "stem")
    maps = conditions.label_maps(rows, 3)
    assert (maps.shape, maps.dtype) == ((4, 3, 3), torch.uint8)
    # A map of 5 x 6 labels, seen at the centres of 3 x 3 pixels: rows .83, 2.5, 4.17 and columns 1, 3, 5.
    first = {"daisy0": 2, "daisy1": 3, "rose0": 0, "rose1": 1}
    whole = np.arange(30).reshape(5, 6)
    for row, labels in zip(rows, maps, strict=True):
        seen = (whole[[0, 2, 4]][:, [1, 3, 5]] + first[row.image.split("/")[-1][:-4]]) % 3
        assert np.array_equal(labels.numpy(), seen)


def test_the_maps_of_the_open_faces_are_those_of_their_file(root, tmp_path):
    """What a segmenter was trained on before its maps were files of the split: pixel for pixel."""
    make_split(load_dataset(root, "open-face-parts"), root, tmp_path / "open-face-parts", progress=False)
    split = Split(tmp_path / "open-face-parts")
    with np.load(root / MAPS) as stored:
        place = {str(key): number for number, key in enumerate(stored["keys"])}
        labels = torch.from_numpy(stored["labels"])
    conditions = Conditions(split)
    assert conditions.labels == load_dataset(root, "open-face-parts").labels and len(conditions.labels) == 8
    for role, count in (("train", 307), ("test", 125)):
        rows = split.select(role)
        whole = labels[[place[row.source] for row in rows]]
        assert len(rows) == count
        for size in (32, 64):
            resized = functional.interpolate(whole[:, None].float(), size=(size, size), mode="nearest-exact")
            assert torch.equal(conditions.label_maps(rows, size), resized[:, 0].to(torch.uint8))
        assert torch.equal(conditions.label_maps(rows[:9], 128), whole[:9])


@pytest.mark.parametrize(
    ("file", "ask"),
    [
        ("captions/rose/rose0.txt", lambda conditions, row: conditions.captions(row)),
        ("speech/rose/rose0--1.wav", lambda conditions, row: conditions.waveforms(row)),
        ("label-maps/rose/rose0.png", lambda conditions, row: conditions.label_maps([row], 8)),
        ("label-maps.json", lambda conditions, row: conditions.labels),
    ],
)
def test_a_file_that_changed_is_named_when_it_is_read(split, file, ask):
    conditions = Conditions(split)
    row = next(row for row in split.rows if row.image == "images/rose/rose0.png")
    path = split.dataset_dir / "conditions" / file
    other = split.dataset_dir / "conditions" / file.replace("rose0", "rose1")
    path.write_bytes(other.read_bytes() + (b"" if other != path else b" "))
    with pytest.raises(UserError, match=f"{path.name} is not the file that conditions.csv states"):
        ask(conditions, row)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} does not exist"):
        ask(conditions, row)


def test_a_split_that_lacks_a_kind_is_named(flowers, tmp_path):
    make_split(flowers(task="text", conditions=["captions"]), tmp_path, tmp_path / "flowers", progress=False)
    split = Split(tmp_path / "flowers")
    conditions, row = Conditions(split), split.rows[0]
    assert len(conditions.captions(row)) == 2
    for kind, ask in (
        ("speech", lambda: conditions.waveforms(row)),
        ("label-maps", lambda: conditions.label_maps([row], 8)),
        ("label-maps", lambda: conditions.labels),
    ):
        with pytest.raises(UserError, match=rf"conditions.csv lists 0 files of {kind}"):
            ask()
    (tmp_path / "flowers" / "conditions.csv").unlink()
    with pytest.raises(UserError, match=r"conditions\.csv does not exist: run `kdx2i split --dataset flowers`"):
        Conditions(split)
