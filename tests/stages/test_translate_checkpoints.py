"""Published checkpoints translate one's own conditions; what a file does not say is asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from own_runs import CPU
from PIL import Image
from published_files import SMALL, SPEECH, TEXT, small_method, write_published

from kdx2i.cli import main
from kdx2i.data.conditions.formats import encode_label_map
from kdx2i.tasks.conditions import TranslationCondition
from kdx2i.training.determinism import derive_seed
from kdx2i.training.precision import to_images, to_pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of 16 px and their label maps."""
    for number, name in enumerate("ab"):
        noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "maps").mkdir(exist_ok=True)
        (tmp_path / "maps" / f"{name}.png").write_bytes(encode_label_map((noise[:, :, 0] % 5).astype(np.uint8)))
    return tmp_path


def published(name: str, folder: Path) -> list[str]:
    small = SMALL[name]
    path = write_published(small, small_method(small), folder / name)
    words = ["--checkpoint", str(path), "--architecture", small.architecture, "--output", str(folder / "out")]
    return [*words, "--resolution", str(small.resolution)]


def test_an_official_stargan_translates_to_a_named_class(folder: Path) -> None:
    words = published("stargan_v2", folder)
    asked = ["--classes", "cat, dog, wild", "--target", "wild"]
    assert main(["translate", str(folder / "images" / "a.png"), *words, *asked]) == 0
    method = small_method(SMALL["stargan_v2"])
    x = to_images(torch.from_numpy(np.array(Image.open(folder / "images/a.png"))).permute(2, 0, 1)[None], CPU)
    torch.manual_seed(derive_seed(0, "translate", 0))
    wanted = to_pixels(method.generate(TranslationCondition(x, torch.tensor([2]), "latent")))[0].permute(1, 2, 0)
    assert np.array_equal(np.array(Image.open(folder / "out" / "a_1.png")), wanted.numpy())


@pytest.mark.parametrize(
    ("name", "more", "made"),
    [
        ("sean", ["--references", "images", "--reference-maps", "maps"], 4),
        ("cocosnet_v2", ["--references", "images", "--reference-maps", "maps"], 2),
        ("spade", [], 2),
    ],
)
def test_label_maps_with_and_without_images(
    name: str, more: list[str], made: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = published(name, folder)
    monkeypatch.chdir(folder)
    assert main(["translate", "maps", *words, *more]) == 0
    assert len(list((folder / "out").glob("*.png"))) == made


def test_captions_with_the_encoder_that_is_named(folder: Path) -> None:
    (folder / "said.txt").write_text("a brown bear\n")
    assert main(["translate", str(folder / "said.txt"), *published("ssa_gan", folder), "--encoder", str(TEXT)]) == 0
    assert (folder / "out" / "said_1.png").is_file()


def test_what_is_missing_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, maps = str(folder / "images" / "a.png"), str(folder / "maps")
    stargan = published("stargan_v2", folder)
    for words, sentence in (
        ([image, *stargan], "translates to several classes: give --target, one of 0, 1, 2"),
        ([image, *stargan, "--classes", "cat,dog"], "has 3 classes, and --classes names 2"),
        ([image, *stargan[:2], *stargan[4:]], "--checkpoint and --architecture go together"),
        ([image, *stargan[:-1], "32"], "is a model of 16 px, not of 32 px"),
        ([maps, *published("sean", folder)], "the mode `reference` needs --references"),
        ([maps, *published("cocosnet_v2", folder)], "give --references and --reference-maps"),
        ([maps, *published("ssa_gan", folder)], "reads its conditions by an encoder: give --encoder"),
        ([maps, *published("ssa_gan", folder), "--encoder", str(SPEECH)], "plants-speech"),
    ):
        assert main(["translate", *words]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
        assert not (folder / "out").exists()
