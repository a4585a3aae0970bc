"""The training of DAMSM: what it learns, its schedule, and that a resumed one ends in the same bytes."""

import hashlib

import pytest
import tiny_text
import torch

from kdx2i.encoders.damsm.image_encoder import ImageEncoder
from kdx2i.encoders.damsm.settings import DamsmTraining
from kdx2i.encoders.damsm.training import DamsmTrainable
from kdx2i.encoders.damsm.trunks import frozen_statistics
from kdx2i.errors import UserError
from kdx2i.training.loop import LoopSettings, train

PAIRS = [(colour, place) for colour in tiny_text.COLOURS for place in tiny_text.PLACES]


def trainable(seed=0, settings=None, **changes):
    torch.manual_seed(seed)
    # No mirror may turn left into right: the whole image, and captions that name the colour decide.
    options = {"batch": 4, "crop": 1.0, "learning_rate": 0.01, **changes}
    return DamsmTrainable(
        settings or tiny_text.SETTINGS, DamsmTraining(**options), tiny_text.paired_images(), tiny_text.CPU
    )


def test_words_are_those_of_the_training_captions():
    assert set(trainable().damsm.vocabulary.words) == {
        "<end>", "a", "square", "on", "the", *tiny_text.COLOURS, *tiny_text.PLACES,
    }  # fmt: skip


def test_it_learns_which_caption_belongs_to_which_image():
    subject, losses = trainable(restart_adam=False, least_rate=1.0), []
    for step in range(100):
        torch.manual_seed(step)
        losses.append(subject.training_step(step)["total"].item())
    assert sum(losses[-10:]) < 0.05 * sum(losses[:10])
    damsm = subject.damsm.freeze(tiny_text.CPU)
    images = torch.stack([tiny_text.picture(colour, "left") for colour in tiny_text.COLOURS]).float() / 127.5 - 1
    found = damsm.agreement(images, [f"a {colour} square on the left" for colour in tiny_text.COLOURS])
    assert found.argmax(1).tolist() == [0, 1, 2, 3]


def test_rate_and_moments_follow_the_epochs():
    subject = trainable(batch=4)  # two steps an epoch
    rates = [subject.rate(step) / 0.01 for step in (0, 1, 2, 226, 228, 230, 1000)]
    # 0.98 ^ 114 is the first power below a tenth; there it stays.
    assert rates == pytest.approx([1, 1, 0.98, 0.98**113, 0.98**114, 0.98**114, 0.98**114])
    steps = []
    for step in range(3):
        subject.training_step(step)
        steps.append({int(entry["step"]) for entry in subject.optimizers["encoders"].state.values()})
    assert steps == [{1}, {2}, {1}]
    kept = trainable(batch=4, restart_adam=False)
    for step in range(3):
        kept.training_step(step)
    assert {int(entry["step"]) for entry in kept.optimizers["encoders"].state.values()} == {3}


def test_only_the_text_encoders_gradient_is_bounded(monkeypatch):
    seen = []
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda parameters, bound: seen.append((set(parameters), bound))
    )
    subject = trainable()
    subject.training_step(0)
    assert seen == [(set(subject.damsm.text.parameters()), 0.25)]


def test_the_table_of_the_text_model_does_not_learn():
    settings = tiny_text.SETTINGS.model_copy(update={"unseen_words": "text-model"})
    torch.manual_seed(0)
    options = DamsmTraining(batch=4, learning_rate=0.01)
    images = tiny_text.paired_images()
    subject = DamsmTrainable(settings, options, images, tiny_text.CPU, text_model=tiny_text.LetterVectors)
    table = subject.damsm.text.encoder.weight.clone()
    before = subject.damsm.text.rnn.weight_ih_l0.clone()
    subject.training_step(0)
    assert torch.equal(subject.damsm.text.encoder.weight, table)
    assert not torch.equal(subject.damsm.text.rnn.weight_ih_l0, before)


class Frozen(ImageEncoder):
    """A trunk of one batch norm that does not learn."""

    def __init__(self):
        super().__init__(2, 3, 3)
        self.norm = torch.nn.BatchNorm2d(3)
        self.freeze_trunk()

    def maps(self, x):
        return self.norm(x), self.norm(x)


@pytest.mark.parametrize("fixed", [False, True])
def test_statistics_of_a_frozen_trunk_move_unless_they_are_fixed(fixed):
    encoder = Frozen().train()
    if fixed:
        frozen_statistics(encoder)
    encoder(torch.rand(2, 3, 4, 4))
    assert torch.equal(encoder.norm.running_mean, torch.zeros(3)) == fixed


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match="8 training images do not fill a batch of 9"):
        trainable(batch=9)


def test_a_resumed_training_ends_in_the_same_bytes(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    settings = {"seed": 5, "checkpoint_every": 3, "sample_every": 100}
    train(trainable(), LoopSettings(5, **settings), whole, "whole")
    train(trainable(), LoopSettings(3, **settings), halves, "first")
    train(trainable(seed=9), LoopSettings(5, **settings), halves, "second")
    digests = [hashlib.sha256((work / "checkpoint.safetensors").read_bytes()).hexdigest() for work in (whole, halves)]
    assert digests[0] == digests[1]
