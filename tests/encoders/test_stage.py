"""The leaf `encoder`: its recipe, its address, the stage run on a few squares, and shipping."""

from importlib import import_module
from pathlib import Path

import pytest
import spoken
import torch
from repository import ROOT
from safetensors.torch import load_file
from tiny_encoders import DATASETS, add_preset, add_recipe, prepared, recipe

from kdx2i.data.rows import Split
from kdx2i.encoders.damsm.training import DamsmTrainable
from kdx2i.encoders.held_out import retrieval
from kdx2i.encoders.matching import load_matcher
from kdx2i.encoders.recipes import FORMS, load_encoder_recipe, read_encoder_recipe
from kdx2i.encoders.speech.training import SpeechEncoderLearning
from kdx2i.errors import UserError
from kdx2i.files import read_json, sha256_file
from kdx2i.foreign import tensor_metadata
from kdx2i.inspection.ship_encoder import ship_encoder
from kdx2i.inspection.verify import shipped_problem
from kdx2i.provenance import require_as_shipped, require_current
from kdx2i.stages import encoder as stage
from kdx2i.suite import make_plan
from kdx2i.workflow import Results

CPU = torch.device("cpu")
TRAININGS = {"damsm": DamsmTrainable, "speech": SpeechEncoderLearning}


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    spoken.register(monkeypatch)


@pytest.mark.parametrize("kind", FORMS)
def test_the_stage_leaves_an_encoder_and_what_it_knows_of_test_images(tmp_path: Path, kind: str) -> None:
    plan = prepared(tmp_path, kind)
    leaf = plan.encoder(f"tiny-{kind}")
    assert plan.leaf_at(leaf.directory / "provenance.json") is leaf
    assert plan.command(leaf) == ["kdx2i", "encoder", "--preset", "open", f"tiny-{kind}"]
    assert f"results/open/encoders/tiny-{kind}/encoder.safetensors" in Results(plan, lambda: ()).encoders()
    stage.run(plan, leaf)
    require_current([leaf])
    assert not leaf.work.exists()
    document = read_json(leaf.file("metrics.json"))
    assert (document["retrieval"]["test_images"], document["retrieval"]["all"]["chance"]) == (2, 50.0)
    # Of the words of "a white square on the left" and the others only the test class's name is new.
    assert document["words"]["examples"] == ["white"] and document["words"]["unseen"] == 1
    made = tensor_metadata(leaf.file("encoder.safetensors"))
    origin = made["provenance"]
    assert (origin["images"], origin["images_seen"], origin["identity"]) == (6, 16, leaf.identity)
    if kind == "damsm":
        assert "white" not in made["words"] and "red" in made["words"]
    protocol = read_json(leaf.provenance_path)["protocol"]
    own = {"damsm": ("damsm-trunk", "small"), "speech": ("s2igan-image-network", spoken.NETWORK)}
    assert protocol[own[kind][0]] == own[kind][1]


@pytest.mark.parametrize("kind", FORMS)
def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path, monkeypatch, kind) -> None:
    prepared(tmp_path, kind)
    preset = tmp_path / "benchmarks/presets/open.yaml"
    preset.write_text(f"{preset.read_text()}checkpoints: {{steps: 2}}\n")
    plan = make_plan(tmp_path, "open")
    leaf = plan.encoder(f"tiny-{kind}")
    stage.run(plan, leaf)
    whole = {name: sha256_file(leaf.file(name)) for name in ("encoder.safetensors", "metrics.json")}
    for name in (*leaf.outputs, leaf.provenance):
        (leaf.folder / name).unlink()
    steps, original = [], TRAININGS[kind].training_step

    def stops_once(self, step):
        steps.append(step)
        if step == 3 and steps.count(3) == 1:
            raise KeyboardInterrupt
        return original(self, step)

    monkeypatch.setattr(TRAININGS[kind], "training_step", stops_once)
    with pytest.raises(KeyboardInterrupt):
        stage.run(plan, leaf)
    assert not leaf.provenance_path.exists()
    stage.run(plan, leaf)
    assert steps == [0, 1, 2, 3, 2, 3]
    assert {name: sha256_file(leaf.file(name)) for name in whole} == whole


@pytest.mark.parametrize("kind", FORMS)
def test_half_precision_is_what_is_stored_and_measured(tmp_path: Path, kind: str) -> None:
    plan = prepared(tmp_path, kind, stored="float16")
    leaf = plan.encoder(f"tiny-{kind}")
    stage.run(plan, leaf)
    tensors = load_file(leaf.file("encoder.safetensors"))
    assert {value.dtype for value in tensors.values() if value.ndim > 1} == {torch.float16}
    assert torch.float16 not in {value.dtype for value in tensors.values() if value.ndim < 2}
    task = import_module(FORMS[kind].module).open_task(Split(leaf.inputs["split"].folder), 32)
    measured = retrieval(load_matcher(leaf.file("encoder.safetensors"), CPU), task)
    assert measured == read_json(leaf.file("metrics.json"))["retrieval"]


def test_an_encoder_is_shipped_with_its_provenance_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    plan = prepared(tmp_path, "damsm")
    leaf = plan.encoder("tiny-damsm")
    with pytest.raises(UserError, match="is missing"):
        ship_encoder(plan, leaf)
    stage.run(plan, leaf)
    path = ship_encoder(plan, leaf)
    shipped = read_json(path.with_suffix(".provenance.json"))
    assert shipped["sha256"] == sha256_file(path) and shipped["identity"] == leaf.identity
    assert shipped["metrics"]["retrieval"] == read_json(leaf.file("metrics.json"))["retrieval"]
    named = add_preset(tmp_path, {DATASETS["damsm"]: "benchmarks/encoders/tiny-damsm.safetensors"})
    run = named.run(DATASETS["damsm"], "ssa_gan", "scratch", 64, 0)
    require_as_shipped(tmp_path, run.files)
    assert shipped_problem(named) is None
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    again = make_plan(tmp_path, "tiny")
    other = again.run(DATASETS["damsm"], "ssa_gan", "scratch", 64, 0)
    assert other.identity != run.identity
    with pytest.raises(UserError, match=r"tiny-damsm\.safetensors is corrupt"):
        require_as_shipped(tmp_path, other.files)
    assert "is corrupt" in str(shipped_problem(again))


def test_bad_recipes_are_one_sentence(tmp_path: Path) -> None:
    plan = prepared(tmp_path, "damsm")
    with pytest.raises(UserError, match=r"there is no encoder `nothing`; the encoders are .*tiny-damsm"):
        plan.encoder("nothing")
    with pytest.raises(UserError, match="here: the key `kind` must be one of damsm, speech"):
        read_encoder_recipe({**recipe("damsm"), "kind": "music"}, "here")
    with pytest.raises(UserError, match=r"here: the key `train\.wings` is unknown"):
        read_encoder_recipe(recipe("damsm", train={"iterations": 1, "wings": 2}), "here")
    with pytest.raises(UserError, match=r"here: the key `train\.iterations` is missing"):
        read_encoder_recipe(recipe("damsm", train={}), "here")
    add_recipe(tmp_path, "damsm", dataset=DATASETS["speech"])
    with pytest.raises(UserError, match="kind damsm is made for the task text, and open-plants-speech is a"):
        make_plan(tmp_path, "open").encoder("tiny-damsm")
    add_recipe(tmp_path, "damsm", name="other")
    with pytest.raises(UserError, match="the key `name` must be `tiny-damsm`, like the file"):
        load_encoder_recipe(tmp_path, "tiny-damsm")
    with pytest.raises(UserError, match="do not fill a batch of 48"):
        wide = prepared(tmp_path / "wide", "damsm", train={"iterations": 1, "batch": 48})
        stage.run(wide, wide.encoder("tiny-damsm"))


def test_a_file_that_holds_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist: train it with `kdx2i encoder`"):
        load_matcher(tmp_path / "none.safetensors", CPU)
    with pytest.raises(UserError, match="holds no encoder of captions or speech"):
        load_matcher(ROOT / "benchmarks/features/open-drawings.safetensors", CPU)
