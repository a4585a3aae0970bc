"""CoCosNet v2 in training and use: what is trained, at which rates, and where exemplars come from."""

from types import SimpleNamespace

import pytest
import tiny
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.cocosnet_v2.exemplars import Exemplars, random_crops
from kdx2i.methods.cocosnet_v2.method import Method
from kdx2i.methods.cocosnet_v2.settings import Settings, Train
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.tasks.paired import PairedImages
from kdx2i.training.loop import LoopSettings, train, update_averages

CPU, SIZE, LABELS = torch.device("cpu"), 64, ("ground", "disc", "bar")
NETWORKS = {"label_nc": 3, "width": 2, "feature_width": 2, "discriminator_width": 4, "discriminator_layers": 2}
NETWORKS |= {"spade_hidden": 4, "match_iterations": 1, "exemplars": 3, "discriminators": 1}


class Task:
    """Four training images and one test image whose colours follow their maps."""

    def __init__(self):
        places = torch.arange(SIZE)
        self.maps = torch.zeros(5, SIZE, SIZE, dtype=torch.uint8)
        for number in range(5):
            centre = 20 + 5 * number
            disc = (places[:, None] - centre) ** 2 + (places[None, :] - centre) ** 2 < 15**2
            self.maps[number][disc] = 1
            self.maps[number][:, 4 + 2 * number : 12 + 2 * number] = 2
        colours = torch.tensor([[230, 220, 240], [200, 40, 60], [30, 60, 160]], dtype=torch.uint8)
        self.images = colours[self.maps.long()].permute(0, 3, 1, 2).contiguous()
        self.is_test = torch.tensor([False] * 4 + [True])
        self.conditions = SimpleNamespace(labels=LABELS)
        self.labels = torch.zeros(5, dtype=torch.int64)

    def given(self, index, draws, references, device):
        return LabelMapCondition(self.maps[index].to(device), LABELS, references)


class Pyramid(torch.nn.Module):
    """Stands for VGG19: colours and edges at five sizes."""

    def forward(self, images):
        edges = images - F.avg_pool2d(images, 3, 1, 1)
        both = torch.cat([images, 4 * edges], 1)
        return [F.avg_pool2d(both, 2**level) for level in range(5)]


def method(*, images=True, networks=None, resolution=SIZE, **changes):
    settings = Settings(
        networks={**NETWORKS, **(networks or {})}, train={"batch": 2, "iterations": 4, "learning_rate": 1e-3, **changes}
    )
    torch.manual_seed(1)
    subject = Method(MethodSetup(settings, resolution, 3, CPU, PairedImages(Task(), CPU) if images else None))
    subject.features = Pyramid()
    return subject


def asked(**changes):
    task = Task()
    return LabelMapCondition(**({"maps": task.maps[3:], "labels": LABELS} | changes))


def test_it_learns_one_small_batch():
    # Without the terms that pull away from the image at first: the stand-in's contextual loss and the adversary.
    weights = {"lambda_contextual": 0.0, "lambda_gan": 0.0, "lambda_discriminator_features": 0.0}
    rates = {"learning_rate": 4e-3, "generator_eps": 1e-8, "ttur": "never"}
    wider = {"width": 8, "feature_width": 8, "spade_hidden": 16}
    subject = method(networks=wider, batch=1, load_scale=1.0, lambda_warp_self=50.0, **rates, **weights)
    torch.manual_seed(0)
    batch = subject.draw()
    subject.draw = lambda: batch
    seen = [subject.training_step(step) for step in range(13)]
    for name in ("g_self_features", "g_perceptual", "g_alignment"):
        assert seen[-1][name] < 0.7 * seen[0][name], name


def test_a_step_trains_all_but_what_only_chooses():
    subject = method()
    before = tiny.state_of(subject.networks)
    torch.manual_seed(0)
    scalars = subject.training_step(0)
    assert all(torch.isfinite(value) for value in scalars.values())
    assert {"g_contextual", "g_alignment", "g_warp_self", "g_warp_cycle", "d_fake", "d_real"} <= scalars.keys()
    moved = tiny.changed(before, tiny.state_of(subject.networks))
    learned = {f"{name}.{key}" for name, network in subject.networks.items() for key, _ in network.named_parameters()}
    still = {name for name in learned - moved if before[name].abs().sum() > 0}
    parts = {"patch_match" if "patch_match" in name else "dec" if ".dec." in name else name for name in still}
    assert parts == {"patch_match", "dec"}
    assert not {name for name in moved if "exemplars" in name}


def test_no_rate_is_zero_weight_and_the_step_is_the_weighted_sum():
    subject = method(lambda_warp_self=7.0)
    torch.manual_seed(0)
    scalars = subject.training_step(0)
    weights = {"gan": 10, "discriminator_features": 10, "self_features": 10, "contextual": 10, "perceptual": 0.001}
    weights |= {"alignment": 10, "warp_self": 7, "warp_cycle": 1}
    total = sum(weight * scalars[f"g_{name}"] for name, weight in weights.items())
    torch.testing.assert_close(scalars["g_total"], total)


@pytest.mark.parametrize(
    ("ttur", "expected"),
    [
        ("first-epoch", [(0.5, 2.0), (0.5, 2.0), (1.0, 1.0), (1.0, 1.0)]),
        ("always", [(0.5, 2.0)] * 4),
        ("never", [(1.0, 1.0)] * 4),
    ],
)
def test_rates_are_apart_for_as_long_as_the_setting_says(ttur, expected):
    subject = method(learning_rate=1.0, ttur=ttur)
    # Four training images, two a batch.
    assert [subject.rates(step) for step in range(4)] == expected


def test_exemplars_in_training():
    subject = method(batch=4)
    torch.manual_seed(0)
    sample, label_map, exemplar_map = subject.draw()
    assert sample.self_reference.tolist() == [1.0] * 4
    assert label_map.shape == exemplar_map.shape == (4, 3, SIZE, SIZE)
    assert torch.equal(label_map.sum(1), torch.ones(4, SIZE, SIZE))
    # Cut elsewhere out of the same image: other pixels, nearly the same colours.
    assert not torch.equal(sample.real, sample.exemplar)
    assert (sample.real.mean((2, 3)) - sample.exemplar.mean((2, 3))).abs().max() < 0.15
    other = method(batch=4, real_reference_probability=1.0, load_scale=1.0)
    torch.manual_seed(0)
    sample, label_map, exemplar_map = other.draw()
    assert sample.self_reference.tolist() == [0.0] * 4
    assert not torch.equal(label_map, exemplar_map)
    # The colours of exemplars follow their own maps.
    known = {
        tuple(colour) for colour in (Task().images.float() / 127.5 - 1).permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    }
    assert {tuple(colour) for colour in sample.exemplar.permute(0, 2, 3, 1).reshape(-1, 3).tolist()} <= known


def test_crops_cut_image_and_map_alike():
    task = Task()
    images, maps = task.images[:2].float() / 127.5 - 1, task.maps[:2]
    cut, cut_maps = random_crops(images, maps, torch.tensor([[0.0, 0.0], [0.999, 0.999]]), 1.25)
    assert cut.shape == images.shape and cut_maps.shape == maps.shape
    # The first keeps the upper left corner, the second the lower right one, enlarged.
    torch.testing.assert_close(cut[0, :, 0, 0], images[0, :, 0, 0], atol=0.02, rtol=0)
    torch.testing.assert_close(cut[1, :, -1, -1], images[1, :, -1, -1], atol=0.02, rtol=0)
    inside = F.max_pool2d(cut_maps[:, None].float(), 5, 1, 2) == -F.max_pool2d(-cut_maps[:, None].float(), 5, 1, 2)
    colours = torch.tensor([[230, 220, 240], [200, 40, 60], [30, 60, 160]]).float() / 127.5 - 1
    expected = colours[cut_maps.long()].permute(0, 3, 1, 2)
    assert ((cut - expected).abs() * inside).max() < 0.15
    assert inside.float().mean() > 0.5


def test_images_are_drawn_from_maps_and_kept_exemplars():
    subject = method()
    update_averages(subject, subject.ema_decay(0))
    torch.manual_seed(0)
    images = subject.generate(asked())
    assert images.shape == (2, 3, SIZE, SIZE)
    assert images.abs().max() <= 1
    torch.manual_seed(0)
    torch.testing.assert_close(subject.generate(asked()), images)
    # The test image is never an exemplar.
    kept = subject.averages["translator"].exemplars.images
    training = Task().images[:4]
    assert all(any(torch.equal(one, image) for image in training) for one in kept)


def test_what_is_published_suffices_to_draw():
    subject, other = method(), method(images=False)
    update_averages(subject, subject.ema_decay(0))
    other.averages["translator"].load_state_dict(subject.averages["translator"].state_dict())
    torch.manual_seed(3)
    expected = subject.generate(asked())
    torch.manual_seed(3)
    torch.testing.assert_close(other.generate(asked()), expected)


def test_the_nearest_exemplar_has_most_labels_in_the_same_place():
    task, kept = Task(), Exemplars(3, SIZE)
    kept.fill(task.images[:3], task.maps[:3])
    images, maps = kept.choose(task.maps[[2, 4]], "nearest")
    assert torch.equal(maps, task.maps[[2, 2]])
    torch.testing.assert_close(images[0], task.images[2].float() / 127.5 - 1)
    torch.manual_seed(0)
    _, drawn = kept.choose(task.maps[:1].expand(30, -1, -1), "random")
    assert len({one.sum().item() for one in drawn}) == 3


def test_more_exemplars_than_images_repeat_them():
    task, kept = Task(), Exemplars(10, SIZE)
    kept.fill(task.images[:4], task.maps[:4])
    counts = [sum(torch.equal(one, image) for one in kept.images) for image in task.images[:4]]
    assert sorted(counts) == [2, 2, 3, 3]


def test_a_resumed_training_ends_in_the_same_bytes(tmp_path):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    train(method(), LoopSettings(2, 3, 1, 9, 1), whole, "whole")
    train(method(), LoopSettings(1, 3, 1, 9, 1), parted, "parted")
    train(method(), LoopSettings(2, 3, 1, 9, 1), parted, "parted")
    assert tiny.outcome(parted) == tiny.outcome(whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ("ground", "disc")}, "2 labels and cocosnet_v2 is set to 3"),
        ({"references": torch.zeros(2, 3, SIZE, SIZE)}, "its only mode is `map`"),
    ],
)
def test_conditions_that_it_cannot_follow_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        method(images=False).generate(asked(**change))


def test_settings_that_it_cannot_follow_are_refused():
    for resolution in (32, 72):
        with pytest.raises(UserError, match=f"not of {resolution} px"):
            method(images=False, resolution=resolution)
    with pytest.raises(UserError, match="no distilled student"):
        method(images=False).initialise({}, reset_encoders=False)
    with pytest.raises(ValidationError, match="ttur"):
        Train(ttur="sometimes")
