"""One's own images through shipped models and runs: files, grids, classes, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_runs import CPU, write_run
from PIL import Image
from repository import ROOT

from kdx2i.cli import main
from kdx2i.data.conditions.formats import encode_label_map, encode_speech
from kdx2i.stages.own_models import open_model
from kdx2i.tasks.conditions import TranslationCondition
from kdx2i.training.precision import to_images, to_pixels

EXAMPLES = ROOT / "docs" / "images"
STARGAN = {"style_dim": 4, "latent_dim": 4, "max_conv_dim": 8, "hidden_dim": 8, "dim_in": 4, "num_down": 1}


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def picture(path: Path, seed: int = 0, side: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def stargan(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", "stargan_v2", "image-to-image", STARGAN, 8, ["bear", "cat", "dog"])
    return tmp_path / "run"


def test_the_command_of_the_readme_translates_an_image_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in readme.splitlines() if line.startswith("kdx2i translate ")]
    words = line.split()[1:]
    monkeypatch.chdir(ROOT)
    words[words.index("--output") + 1] = str(tmp_path / "grid.png")
    assert main(words) == 0
    inputs, references = (len(list((EXAMPLES / name).iterdir())) for name in ("inputs", "references"))
    assert pixels(tmp_path / "grid.png").shape == ((inputs + 1) * 66 + 2, (references + 1) * 66 + 2, 3)
    first = (tmp_path / "grid.png").read_bytes()
    assert main(words) == 0
    assert (tmp_path / "grid.png").read_bytes() == first


def test_by_reference_a_file_is_what_the_shipped_student_makes_of_both_images(tmp_path: Path) -> None:
    source, reference = sorted((EXAMPLES / "inputs").iterdir())[0], sorted((EXAMPLES / "references").iterdir())[0]
    words = ["translate", str(source), "--references", str(reference), "--output", str(tmp_path / "out")]
    assert main([*words, "--model", "stargan_v2-kd-r64"]) == 0
    model = open_model("stargan_v2-kd-r64", CPU)
    x, r = (to_images(torch.from_numpy(pixels(path)).permute(2, 0, 1)[None], CPU) for path in (source, reference))
    wanted = to_pixels(model.method.generate(TranslationCondition(x, torch.tensor([0]), "reference", r)))[0]
    assert np.array_equal(pixels(tmp_path / "out" / f"{source.stem}_1.png"), wanted.permute(1, 2, 0).numpy())
    stated = json.loads((tmp_path / "out" / "translation.json").read_text())
    assert stated["mode"] == "reference"
    assert list(stated["files"]) == ["stargan_v2-kd-r64.safetensors"]


def test_noise_depends_on_seed_and_column_and_not_on_other_inputs(stargan: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "both" / f"{name}.png", seed=ord(name))
    shutil.copy(tmp_path / "both" / "b.png", tmp_path / "b.png")
    asked = ["--model", str(stargan), "--target", "cat", "--outputs", "2"]
    for inputs, out, seed in (("both", "one", "3"), ("b.png", "two", "3"), ("b.png", "three", "4")):
        words = ["translate", str(tmp_path / inputs), *asked, "--seed", seed, "--output", str(tmp_path / out)]
        assert main(words) == 0
    own, alone, other = (pixels(tmp_path / name / "b_2.png") for name in ("one", "two", "three"))
    assert np.array_equal(own, alone)
    assert not np.array_equal(alone, other)
    assert not np.array_equal(alone, pixels(tmp_path / "two" / "b_1.png"))


def test_several_classes_are_folders_and_references_say_their_own(stargan: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    words = ["translate", str(source), "--model", str(stargan), "--output"]
    assert main([*words, str(tmp_path / "out"), "--target", "dog", "--target", "bear"]) == 0
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")) == [
        "bear/a_2.png",
        "dog/a_1.png",
    ]
    reference = picture(tmp_path / "styles" / "dog" / "r.png", seed=1)
    assert main([*words, str(tmp_path / "by-folder"), "--references", str(tmp_path / "styles")]) == 0
    named = [*words, str(tmp_path / "by-name"), "--references", str(reference), "--target", "dog"]
    assert main(named) == 0
    assert np.array_equal(pixels(tmp_path / "by-folder" / "a_1.png"), pixels(tmp_path / "by-name" / "a_1.png"))


def own_files(folder: Path) -> None:
    """Write two captions, an utterance, and a label map with an image that it belongs to."""
    (folder / "said.txt").write_text("a brown bear\na blue bird")
    samples = (3000 * np.sin(np.arange(22050) / 20)).astype(np.int16)
    (folder / "tone.wav").write_bytes(encode_speech(samples))
    (folder / "part.png").write_bytes(encode_label_map(np.arange(4, dtype=np.uint8).repeat(16).reshape(8, 8)))
    picture(folder / "face" / "part.png", side=64)


TEXT = {"ngf": 4, "ndf": 4, "noise_dim": 4, "condition_dim": 64, "modulation_width": 8}
SPEECH = {"gf_dim": 2, "df_dim": 2, "condition_dim": 4, "noise_dim": 4, "speech_dim": 128, "stages": 1}
OASIS = {"label_nc": 4, "channels_g": 2, "hidden": 4}
SPADE = {"label_nc": 4, "ngf": 2, "hidden": 4}
COCOSNET = {"label_nc": 4, "width": 2, "feature_width": 2, "spade_hidden": 4, "exemplars": 1}
SEAN = {"label_nc": 4, "ngf": 2, "hidden": 4, "style_length": 6, "style_layers": 5, "encoder_width": 4}
ROWS_OF_TABLE_2 = [
    ("ssa_gan", "text", TEXT, 16, "benchmarks/encoders/animals-text.safetensors", "said.txt"),
    ("s2igan", "speech", SPEECH, 16, "benchmarks/encoders/plants-speech.safetensors", "tone.wav"),
    ("oasis", "label-map", OASIS, 64, None, "part.png"),
    ("spade", "label-map", SPADE, 32, None, "part.png"),
    ("cocosnet_v2", "label-map", COCOSNET, 64, None, "part.png"),
    ("sean", "label-map", SEAN, 32, None, "part.png"),
]


@pytest.mark.parametrize("row", ROWS_OF_TABLE_2, ids=lambda row: row[0])
def test_a_trained_row_of_table_2_draws_ones_own_captions_utterances_and_label_maps(
    row: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    architecture, task, sizes, resolution, encoder, inputs = row
    own_files(tmp_path)
    write_run(tmp_path / "run", architecture, task, sizes, resolution, ["all"], encoder)
    words = ["translate", str(tmp_path / inputs), "--model", str(tmp_path / "run"), "--outputs", "2"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    made = sorted((tmp_path / "out").glob("*.png"))
    assert len(made) == (4 if task == "text" else 2)
    assert {pixels(path).shape for path in made} == {(resolution, resolution, 3)}
    stated = json.loads((tmp_path / "out" / "translation.json").read_text())
    assert (stated["task"], stated["outputs"]) == (task, 2)
    if task == "label-map":
        (tmp_path / "other.png").write_bytes(encode_label_map(np.full((8, 8), 200, np.uint8)))
        unknown = ["translate", str(tmp_path / "other.png"), *words[2:], "--output", str(tmp_path / "none")]
        assert main(unknown) == 2
        assert "has the label 200" in capsys.readouterr().err
    styled = [*words, "--references", str(tmp_path / "face"), "--reference-maps", str(tmp_path / "part.png")]
    assert main([*styled, "--output", str(tmp_path / "styled")]) == (0 if architecture == "sean" else 2)
    if architecture == "sean":
        first = (tmp_path / "out" / "part_1.png").read_bytes()
        assert (tmp_path / "styled" / "part_1.png").read_bytes() != first


SHIPPED = sorted(path.stem for path in (ROOT / "benchmarks/students").glob("*.safetensors"))


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.startswith("stargan_v2")])
def test_a_student_that_was_only_distilled_names_what_reads_own_conditions(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_files(tmp_path)
    assert main(["translate", str(tmp_path / "said.txt"), "--model", name, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {name} is distilled only") and len(error) < 310
    assert f"A run of {name.partition('-')[0]} that was trained on them does" in error


def test_what_cannot_be_done_is_one_sentence_and_nothing_is_written(
    stargan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(picture(tmp_path / "in" / "a.png"))
    out = ["--output", str(tmp_path / "out")]
    run = ["--model", str(stargan), *out]
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    for words, sentence in (
        ([image, *run], "translates to several classes: give --target, one of bear, cat, dog"),
        ([image, *run, "--target", "cow"], "has no class `cow`"),
        ([image, *run, "--mode", "reference"], "the mode `reference` needs --references"),
        ([image, *run, "--mode", "upside"], "has no mode `upside`; its modes are latent, reference"),
        ([image, *run, "--references", image], "put them into a sub-folder a class, or give one --target"),
        ([image, *run, "--target", "cat", "--outputs", "300"], "the most is 256"),
        ([str(tmp_path / "in"), *run, "--target", "cat"], "broken.png is not an image that can be read"),
        ([str(tmp_path / "nowhere"), *out], "does not exist"),
        ([image, "--model", "stargan", *out], "there is no model `stargan`: name a shipped student"),
        ([image, "--model", "ssa_gan-kd-r64", *out], "and reads no captions yet"),
        ([image, "--model", str(tmp_path / "in"), *out], "is no folder of a run: it has no networks.safetensors"),
        ([image, "--output", str(tmp_path / "in")], "exists: name a folder that does not"),
    ):
        before = sorted(tmp_path.iterdir())
        assert main(["translate", *words]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
        assert len(error) < 330
        assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_or_foreign_run_is_refused(stargan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(picture(tmp_path / "a.png"))
    words = ["translate", image, "--model", str(stargan), "--target", "cat", "--output", str(tmp_path / "out")]
    stated = json.loads((stargan / "provenance.json").read_text())
    for spec, sentence in (
        ({**stated["spec"], "networks": {**STARGAN, "style_dim": 5}}, "does not fit the network"),
        ({**stated["spec"], "networks": {"width": 4}}, "the key `networks.width` is unknown"),
        ({**stated["spec"], "networks": {**STARGAN, "max_conv_dim": 2**40}}, "describes no network"),
        ({**stated["spec"], "architecture": "pix2pix"}, "which does not exist here"),
        ({"seed": 0}, "is not the provenance of a run"),
    ):
        (stargan / "provenance.json").write_text(json.dumps({"spec": spec}))
        assert main(words) == 2
        assert sentence in capsys.readouterr().err
    (stargan / "provenance.json").write_text(json.dumps(stated))
    weights = (stargan / "networks.safetensors").read_bytes()
    (stargan / "networks.safetensors").write_bytes(weights[:-100])
    assert main(words) == 2
    assert "is not a whole safetensors file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
