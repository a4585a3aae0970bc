"""Files in the layouts that the authors publish become models that draw the same images; hostile ones are refused."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from published_files import CPU, SMALL, Small, exemplars, part, small_method, write_published
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.official_models import build_published, read_published, with_published
from kdx2i.tasks.conditions import CaptionCondition, LabelMapCondition, SpeechCondition, TranslationCondition


def condition(small: Small) -> Any:
    task, side = architectures()[small.architecture].task, small.resolution
    drawn = torch.Generator().manual_seed(2)
    images = torch.rand(2, 3, side, side, generator=drawn) * 2 - 1
    if task == "image-to-image":
        return TranslationCondition(images, torch.tensor([0, small.classes - 1]), "latent")
    if task == "text":
        return CaptionCondition(("a brown bear", "a blue bird"))
    if task == "speech":
        return SpeechCondition((torch.rand(22050, generator=drawn) - 0.5,) * 2, 22050)
    maps = torch.randint(0, 5, (2, side, side), generator=drawn).to(torch.uint8)
    labels = ("a", "b", "c", "d", "e")
    if small.architecture == "sean":
        return LabelMapCondition(maps, labels, images, maps.flip(0))
    return LabelMapCondition(maps, labels)


def drawn(method: Any, given: Any) -> Tensor:
    torch.manual_seed(3)
    images: Tensor = method.generate(given)
    return images


@pytest.mark.parametrize("name", SMALL)
def test_a_published_model_draws_what_its_networks_do(name: str, tmp_path: Path) -> None:
    small = SMALL[name]
    kept = exemplars(1, small.resolution, 5) if small.architecture == "cocosnet_v2" else None
    method = small_method(small, kept)
    path = write_published(small, method, tmp_path, legacy=name == "stargan_v2")
    published = read_published(small.architecture, path, small.resolution)
    assert (published.resolution, published.num_classes) == (small.resolution, small.classes)
    more = {"exemplars": 1} if kept else {}
    torch.manual_seed(9)
    read = build_published(small.architecture, published, CPU, encoders=small.encoders, images=kept, networks=more)
    for held in small.files.values():
        for place in [held] if isinstance(held, str) else held.values():
            own, other = part(method, place).state_dict(), part(read, place).state_dict()
            assert all(torch.equal(own[key], other[key]) for key in own), place
    given = condition(small)
    if small.architecture == "sean":  # Regions that a reference has not are zero in the official code.
        method.settings.networks.__dict__["absent_regions"] = "zero"
    assert torch.equal(drawn(read, given), drawn(method, given))


def test_every_architecture_of_the_paper_with_published_files_is_read() -> None:
    assert {small.architecture for small in SMALL.values()} == set(with_published())
    assert set(architectures()) - set(with_published()) == {"deepi2i_adapted", "transferi2i_adapted"}


class Hostile:
    """Runs a command when Python's own unpickler reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_no_checkpoint_is_refused_in_one_sentence_and_not_run(name: str, tmp_path: Path) -> None:
    small = SMALL[name]
    path = write_published(small, small_method(small), tmp_path / "own")
    whole = path.read_bytes()
    marker = tmp_path / "ran"
    foreign = SMALL["dmit" if small.architecture == "oasis" else "oasis"]
    other = write_published(foreign, small_method(foreign), tmp_path / "foreign")
    torch.save({"generator": Hostile(marker)}, tmp_path / "hostile.pth")
    for content in (
        (tmp_path / "hostile.pth").read_bytes(),
        pickle.dumps(Hostile(marker)),
        whole[: len(whole) // 2],
        b"",
        other.read_bytes(),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError) as refused:
            published = read_published(small.architecture, path, small.resolution)
            build_published(small.architecture, published, CPU, encoders=small.encoders)
        assert len(str(refused.value)) <= 300
        assert "\n" not in str(refused.value)
    assert not marker.exists()


def test_values_that_are_not_finite_and_missing_networks_are_refused(tmp_path: Path) -> None:
    small = SMALL["deepi2i"]
    method = small_method(small)
    path = write_published(small, method, tmp_path)
    (tmp_path / "A1.pth").unlink()
    with pytest.raises(UserError, match=r"A1\.pth does not exist: it is published beside G\.pth"):
        read_published("deepi2i", path)
    with torch.no_grad():
        next(iter(part(method, "generator").parameters())).fill_(float("nan"))
    path = write_published(small, method, tmp_path)
    with pytest.raises(UserError, match="holds values that are not finite"):
        read_published("deepi2i", path)
    with pytest.raises(UserError, match=r"does not exist: name a checkpoint of spade"):
        read_published("spade", tmp_path / "none.pth")
    with pytest.raises(UserError, match=r"there are no published checkpoints of `pix2pix`"):
        read_published("pix2pix", path)


def test_models_for_faces_with_landmarks_are_refused(tmp_path: Path) -> None:
    small = SMALL["stargan_v2"]
    method = small_method(small)
    states = {name: dict(method.averages[name].state_dict()) for name in small.files[small.path]}
    states["generator"]["hpf.filter"] = torch.zeros(3, 3)
    torch.save(states, tmp_path / "nets_ema.ckpt")
    with pytest.raises(UserError, match="w_hpf above 0"):
        read_published("stargan_v2", tmp_path / "nets_ema.ckpt")
