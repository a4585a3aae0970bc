"""Training of the feature network: what a batch holds, whose images it is made of, and that it can be resumed."""

from pathlib import Path

import pytest
import torch

from kdx2i.config import find_root, load_dataset, load_preset
from kdx2i.data.readers import build_reader
from kdx2i.data.rows import ImageRow
from kdx2i.errors import UserError
from kdx2i.features.damaged import KINDS, damaged
from kdx2i.features.recipes import FeatureRecipe, load_feature_recipe
from kdx2i.features.training import Drawings, FeatureSettings, FeatureTraining, moved, reduced
from kdx2i.files import read_json
from kdx2i.stages.features import held_out_pixels
from kdx2i.training.determinism import seed_step
from kdx2i.training.loop import LoopSettings, train

SETTINGS = FeatureSettings(4, 8, 1e-3, 0.0, 0.5, 64, (32, 64))


def sets() -> list[Drawings]:
    """Return two sets: four images of two classes, six of three; an image's grey level is its number."""
    grey = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 3, 64, 64) * 20
    return [
        Drawings(grey[:4].clone(), torch.tensor([0, 0, 1, 1]), 2),
        Drawings(grey[4:].clone(), torch.tensor([0, 1, 2, 0, 1, 2]), 3),
    ]


def training(seed: int = 0) -> FeatureTraining:
    """Return a training on two small sets."""
    return FeatureTraining(SETTINGS, sets(), seed, torch.device("cpu"))


def test_a_target_is_of_the_set_that_the_image_came_from() -> None:
    seed_step(0, 0)
    one = training()
    images, targets, allowed = one.draw()
    assert images.shape == (8, 3, 64, 64) and images.min() >= -1 and images.max() <= 1
    assert targets.shape == allowed.shape == (8, 2 + 3 + 1)
    assert torch.allclose(targets.sum(1), torch.ones(8)) and bool((targets[~allowed] == 0).all())
    assert bool(allowed[:, -1].all())
    assert all(allowed[row, :2].all() != allowed[row, 2:5].all() for row in range(8))
    whole = targets[:, -1] == 0
    assert whole.any() and not whole.all()
    for row in torch.nonzero(whole).flatten():
        number = round((images[row].mean().item() + 1) * 127.5 / 20)  # whole images keep their grey level
        expected = number // 2 if number < 4 else 2 + (number - 4) % 3
        assert int(targets[row].argmax()) == expected


@pytest.mark.parametrize("kind", range(len(KINDS)))
@pytest.mark.parametrize("side", [32, 64])
def test_damage_says_how_much_it_is(kind: int, side: int) -> None:
    pictures = torch.randint(0, 256, (6, 3, side, side), dtype=torch.uint8)
    image, share = KINDS[kind](pictures)
    assert image.shape == (1, 3, side, side) and 0 < share <= 1
    assert image.min() >= -1e-3 and image.max() <= 255 + 1e-3
    assert not torch.equal(image.round(), pictures[:1].float())


def test_every_kind_of_damage_is_drawn() -> None:
    pictures = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    shares = [damaged(pictures)[1] for _ in range(100)]
    assert min(shares) < 0.5 and max(shares) == 1.0


def test_motion_keeps_size_and_reduction_halves_it() -> None:
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert all(moved(pictures).shape == pictures.shape for _ in range(5))
    small = reduced(pictures, 32)
    assert small.shape == (2, 3, 32, 32) and small.mean().item() == pytest.approx(pictures.float().mean().item(), abs=1)
    assert torch.equal(reduced(pictures, 64), pictures.float())


def test_a_training_that_is_resumed_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole, first, second = training(), training(), training(seed=1)
    train(whole, LoopSettings(4, 0, checkpoint_every=2), tmp_path / "whole", "whole")
    train(first, LoopSettings(2, 0, checkpoint_every=2), tmp_path / "parts", "first part")
    # The state comes from the checkpoint, not from the new start.
    train(second, LoopSettings(4, 0, checkpoint_every=2), tmp_path / "parts", "second part")
    pairs = zip(whole.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_test_images_are_known_by_their_pixels() -> None:
    def row(role: str, pixels: str) -> ImageRow:
        return ImageRow("images/a.png", "a", role, "", "a", "", pixels)  # type: ignore[arg-type]

    class Rows:
        def __init__(self, *rows: ImageRow) -> None:
            self.rows = list(rows)

    splits = {"one": Rows(row("test", "p"), row("train", "q")), "two": Rows(row("test", "r"))}
    recipe = FeatureRecipe(name="n", title="t", datasets=("one",), without_tests_of=("one",), iterations=1)
    assert held_out_pixels(splits, recipe) == {"p"}  # type: ignore[arg-type]


def test_the_shipped_network_was_trained_on_no_test_image_of_what_it_scores(root_: Path) -> None:
    recipe = load_feature_recipe(root_, "open-drawings")
    shipped = read_json(root_ / "benchmarks/features/open-drawings.provenance.json")
    assert shipped["features"] == {**recipe.as_json(), "seed": recipe.seeds[0]}
    assert set(shipped["images"]) == set(recipe.datasets) and all(count > 0 for count in shipped["images"].values())
    # Sets with test images that the open presets score.
    scored = set(load_preset(root_, "open").datasets.values())
    names = {*scored, *recipe.datasets, *recipe.without_tests_of}
    entries = {name: build_reader(load_dataset(root_, name), root_).entries() for name in names}
    pixels = {
        (name, role): {e.fingerprint for e in entries[name] if e.role == role}
        for name in names
        for role in ("train", "test")
    }
    held_out = {seen for name in recipe.without_tests_of for seen in pixels[name, "test"]}
    learned = {seen for name in recipe.datasets for seen in pixels[name, "train"]} - held_out
    for name in scored:
        assert pixels[name, "test"] and not pixels[name, "test"] & learned


def test_an_unknown_network_is_one_sentence(root_: Path) -> None:
    with pytest.raises(UserError, match="there is no feature network `nothing`; there are open-drawings"):
        load_feature_recipe(root_, "nothing")


@pytest.fixture(name="root_")
def root() -> Path:
    """The repository's root."""
    return find_root(Path(__file__))
