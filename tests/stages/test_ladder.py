"""The ladder of the open presets' extractor: every distance that a table prints has damage in order; lite0's do not."""

import csv
import hashlib
import re
from pathlib import Path

import pytest
import torch
from repository import ROOT

from kdx2i.config import load_dataset
from kdx2i.data.rows import Split
from kdx2i.data.split import make_split
from kdx2i.errors import UserError
from kdx2i.metrics.extractors.extractor import build_extractor
from kdx2i.metrics.extractors.networks import DrawingFeatures
from kdx2i.metrics.runs import run_scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Plan
from kdx2i.stages.ladder import COLUMNS, Ladder, LadderRequest, run
from kdx2i.suite import make_plan
from kdx2i.tasks.scoring.base import open_scoring
from kdx2i.tasks.scoring.ladder import DISTANCES, climb


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of splits."""
    return tmp_path_factory.mktemp("data")


def made(data: Path, dataset: str) -> Path:
    """Return the folder of a dataset's split, made when it is first asked for."""
    if not (data / dataset).exists():
        make_split(load_dataset(ROOT, dataset), ROOT, data / dataset, progress=False)
    return data / dataset


def ladder(data: Path, extractor: str, dataset: str, resolution: int) -> Ladder:
    """Return a ladder on a dataset, without accuracies."""
    weights = ROOT / "benchmarks/features/open-drawings.safetensors" if extractor == "open-drawings" else None
    network = build_extractor(extractor, weights_path=weights)
    scoring = open_scoring("image-to-image", Split(made(data, dataset)), resolution)
    settings = EvaluationSettings(extractor=extractor)
    scorer = run_scorer(scoring.real, scoring.task.classes, settings, extractor=network)
    return Ladder(dataset, resolution, climb(scorer, accuracy=False))


@pytest.mark.parametrize("resolution", [32, 64])
@pytest.mark.parametrize(
    "dataset", ["open-animal-faces", "open-birds", pytest.param("open-foods", marks=pytest.mark.nightly)]
)
def test_the_default_distances_have_damage_in_order(data: Path, dataset: str, resolution: int) -> None:
    extractor = make_plan(ROOT, "open").evaluation_settings["extractor"]
    assert ladder(data, extractor, dataset, resolution).broken() == []


def plan_of(data: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Return the plan of `open`, whose splits are those of `data`."""
    plan = make_plan(ROOT, "open")
    monkeypatch.setattr("kdx2i.stages.ladder.require_current", lambda _: None)
    monkeypatch.setattr("kdx2i.plan.leaf.Leaf.folder", property(lambda leaf: data / str(leaf.address["dataset"])))
    return plan


def test_the_command_writes_every_value_and_says_that_imagenet_features_have_blank_drawings_better(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(data, "open-birds")
    plan = plan_of(data, monkeypatch)
    table, plot = tmp_path / "ladder.csv", tmp_path / "ladder.svg"
    request = LadderRequest("efficientnet-lite0", ("open-birds",), (64,), csv=table, plot=plot)
    assert run(plan, request) is False
    shown = " ".join(capsys.readouterr().out.split())
    broken = re.findall(r"broken: open-birds, 64 px: (\S+) puts .+? \(\S+\) above (.+?) \(", shown)
    assert {high for metric, high in broken if metric == "mFID"} & {"grey", "white", "pure noise"}
    assert f"efficientnet-lite0: {len(broken)} pairs out of order" in shown
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["metric"] for row in rows} == {*DISTANCES, "RC"}
    by_class = {row["rung"] for row in rows if row["metric"] == "mFID"}
    assert by_class - {row["rung"] for row in rows if row["metric"] == "FID"} == {"wrong class"}
    assert plot.read_text().startswith("<?xml")


def test_features_of_drawings_do_not_depend_on_the_batch() -> None:
    extractor = build_extractor("open-drawings", weights_path=ROOT / "benchmarks/features/open-drawings.safetensors")
    images = torch.randint(0, 256, (21, 3, 32, 32), dtype=torch.uint8)
    together, logits = extractor.outputs(images)
    assert together.shape == (21, 128) and logits is not None and logits.shape == (21, 131)
    assert (together >= 0).all()
    assert torch.equal(torch.cat([extractor(image[None]) for image in images]), together)
    plain = DrawingFeatures(
        "open-drawings",
        ["128"],
        feature_extractor_weights_path=ROOT / "benchmarks/features/open-drawings.safetensors",
        fold_norms=False,
    )
    assert torch.allclose(plain(images)[0], together, atol=1e-4)


@pytest.mark.parametrize("damage", ["byte", "no provenance", "other file"])
def test_a_network_that_is_not_the_shipped_one_is_refused(tmp_path: Path, damage: str) -> None:
    shipped, copy = ROOT / "benchmarks/features/open-drawings.safetensors", tmp_path / "copy.safetensors"
    data, provenance = shipped.read_bytes(), shipped.with_suffix(".provenance.json").read_text()
    if damage == "byte":
        data = data[:-1] + bytes([data[-1] ^ 1])
    if damage == "other file":
        data = b"no tensors"
        provenance = f'{{"sha256": "{hashlib.sha256(data).hexdigest()}"}}'
    copy.write_bytes(data)
    if damage != "no provenance":
        copy.with_suffix(".provenance.json").write_text(provenance)
    sentence = {"byte": "has SHA-256", "no provenance": "cannot be read", "other file": "is not a plain state dict"}
    with pytest.raises(UserError, match=sentence[damage]):
        build_extractor("open-drawings", weights_path=copy)
