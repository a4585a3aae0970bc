"""The leaf `segmenter`: its address and command, and the stage run on a few pairs."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kdx2i.config import load_dataset
from kdx2i.data.conditions.condition_rows import ConditionRow, write_condition_rows
from kdx2i.data.conditions.formats import checksum, encode_description, encode_label_map
from kdx2i.data.decode import pixels_sha256
from kdx2i.data.rows import ImageRow, write_rows
from kdx2i.errors import UserError
from kdx2i.files import read_json, sha256_file
from kdx2i.metrics.segmentation.segmenter import load_segmenter
from kdx2i.metrics.segmentation.settings import SegmenterSettings
from kdx2i.plan import Plan
from kdx2i.provenance import require_current
from kdx2i.stages import segmenter as stage
from kdx2i.suite import catalogue
from kdx2i.workflow import Results
from tests.support.repository import ROOT, settings_copy

LABELS = load_dataset(ROOT, "open-face-parts").labels
FILE = ROOT / "benchmarks" / "datasets" / "open_emoji" / "face_parts_128.npz"


@pytest.fixture
def plan(tmp_path):
    class Small(SegmenterSettings):
        width: int = 4
        epochs: int = 1
        batch: int = 2

    return Plan(settings_copy(tmp_path), "open", None, replace(catalogue(), segmenter=Small))


def make_split(plan: Plan) -> None:
    """Write six images coloured by their label maps, four to train on and two to test on."""
    folder = plan.split("open-face-parts").folder
    with np.load(FILE) as stored:
        sources, maps = stored["keys"][:6].tolist(), stored["labels"][:6]
    rows, conditions = [], []

    def keep(image: str, file: str, data: bytes) -> None:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        conditions.append(ConditionRow(image, "label-maps", file, checksum(data, "label-maps", image, file)))

    keep("", "conditions/label-maps.json", encode_description({"labels": list(LABELS)}))
    for number, (source, labels) in enumerate(zip(sources, maps, strict=True)):
        path = folder / "images" / "face" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = 30 * labels
        image = Image.fromarray(np.stack([grey] * 3, axis=2))
        image.save(path)
        role = "train" if number < 4 else "test"
        rows.append(ImageRow(f"images/face/{number}.png", "face", role, "", source, "0" * 64, pixels_sha256(image)))
        keep(rows[-1].image, f"conditions/label-maps/face/{number}.png", encode_label_map(labels))
    write_condition_rows(folder / "conditions.csv", conditions)
    write_rows(folder / "split.csv", rows)


def test_any_dataset_has_the_address(plan) -> None:
    leaf = plan.segmenter("open-face-parts", 64)
    assert plan.leaf_at(leaf.directory / "provenance.json") is leaf
    words = ["--preset", "open", "--dataset", "open-face-parts", "--resolution", "64"]
    assert plan.command(leaf) == ["kdx2i", "segmenter", *words]
    assert not Results(plan, lambda: ()).is_current(leaf)
    with pytest.raises(UserError, match="no resolution 48"):
        plan.segmenter("open-face-parts", 48)
    with pytest.raises(UserError, match="no dataset `nothing`"):
        plan.segmenter("nothing", 64)


def test_the_stage_leaves_weights_ceiling_and_samples(plan) -> None:
    make_split(plan)
    leaf = plan.segmenter("open-face-parts", 32)
    stage.run(plan, leaf)
    require_current([leaf])
    document, trained = read_json(leaf.file("metrics.json")), load_segmenter(leaf.file("segmenter.safetensors"))
    assert (document["n_train"], document["n_test"], trained.samples, trained.resolution) == (4, 2, 4, 32)
    ceiling = document["values"]["mIoU"]
    assert ceiling["segmenter_sha256"] == trained.sha256
    assert 0.0 < ceiling["value"] <= 100.0
    assert Image.open(leaf.file("samples.png")).size[1] > 3 * 32
    before = sha256_file(leaf.file("segmenter.safetensors"))
    stage.run(plan, leaf)
    assert sha256_file(leaf.file("segmenter.safetensors")) == before
    with pytest.raises(UserError, match="dataset open-birds has no label maps"):
        stage.run(plan, plan.segmenter("open-birds", 32))
