"""The training of the speech encoder: what it sees, that it learns, that it resumes, and its schedule."""

import pytest
import spoken
import torch

from kdx2i.encoders.speech.augmentation import crop_and_mirror, enlarged
from kdx2i.encoders.speech.settings import SpeechEncoderSettings
from kdx2i.encoders.speech.training import SpeechEncoderLearning, spoken_images
from kdx2i.errors import UserError
from kdx2i.training.loop import LoopSettings, train

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    spoken.register(monkeypatch)


def learning(seed=0, **changes):
    values = {"batch": 6, "learning_rate": 3e-3, "iterations": 40, "decay_every": 1000, "enlarge": 1.1, **changes}
    settings = SpeechEncoderSettings.model_validate({"sizes": spoken.SIZES.model_dump(), "train": values})
    return SpeechEncoderLearning(settings, spoken_images(spoken.SpokenTask()), seed, CPU)


def test_only_training_images_and_their_classes_are_seen():
    task = spoken.SpokenTask()
    data = spoken_images(task)
    assert data.classes == 3
    assert {task.rows[number].label for number in data.index.tolist()} == {"blue", "red", "white"}
    drawn, condition, labels = data.draw(12)
    assert len({image.numpy().tobytes() for image in drawn}) == 12 and len(condition.waveforms) == 12
    expected = [{"blue": 0, "red": 1, "white": 2}[task.rows[n].label] for n in data.index.tolist()]
    assert sorted(labels.tolist()) == sorted(expected)
    names = [("blue", "red", "white")[label] for label in labels.tolist()]
    loudest = [int(image.float().mean((1, 2)).argmax()) for image in drawn]
    assert all(loud == {"blue": 2, "red": 0}.get(name, loud) for name, loud in zip(names, loudest, strict=True))


def test_it_learns_which_utterance_belongs_to_which_image():
    subject = learning()
    results = []
    for step in range(40):
        torch.manual_seed(step)
        results.append(subject.training_step(step))
    first, last = (sum(float(r["matching"] + r["classes"]) for r in part) for part in (results[:5], results[-5:]))
    assert last < 0.7 * first
    encoder = subject.encoder()
    assert all(parameter.requires_grad for parameter in subject.networks["speech"].parameters())
    data = spoken_images(spoken.SpokenTask())
    torch.manual_seed(50)
    pixels, condition, labels = data.draw(12)
    images = encoder.embed_images(pixels.float() / 127.5 - 1)
    nearest = (encoder.embed_speech(condition) @ images.T).argmax(1)
    assert (labels[nearest] == labels).float().mean() > 0.8  # chance: a third


def test_the_rate_falls_by_ten():
    subject = learning(decay_every=2)
    rates = []
    for step in range(5):
        subject.training_step(step)
        rates.append(subject.optimizers["encoder"].param_groups[0]["lr"])
    assert rates == pytest.approx([3e-3, 3e-3, 3e-4, 3e-4, 3e-5])


def test_a_resumed_training_ends_in_the_same_bytes(tmp_path):
    def run(folder, *lengths):
        for length in lengths:
            subject = learning()
            train(subject, LoopSettings(length, seed=4, checkpoint_every=2), tmp_path / folder, "speech")
        return subject

    whole, parts = run("whole", 4), run("parts", 2, 4)
    for name, network in whole.networks.items():
        other = parts.networks[name].state_dict()
        assert all(torch.equal(tensor, other[key]) for key, tensor in network.state_dict().items())
    assert (tmp_path / "whole" / "samples.png").is_file()


def test_a_batch_of_more_than_all_images_is_refused():
    with pytest.raises(UserError, match="a batch of 13 is more than the 12 training images"):
        learning(batch=13)


def test_a_crop_is_a_part_of_the_enlarged_image():
    images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    large = enlarged(images, 16, 1.25)
    assert large.shape == (20, 3, 20, 20)
    crops = crop_and_mirror(images, 16, 1.25)
    places = set()
    for number, crop in enumerate(crops):
        found = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(large[number, :, top : top + 16, left : left + 16], crop.flip(2) if mirrored else crop)
        ]
        assert len(found) == 1
        places.update(found)
    assert {place[2] for place in places} == {False, True} and len({place[:2] for place in places}) > 5
    kept = crop_and_mirror(images, 16, 1.0)
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(kept, images, strict=True))


def test_an_image_keeps_its_proportions():
    assert enlarged(torch.zeros(1, 3, 20, 31, dtype=torch.uint8), 16, 1.25).shape == (1, 3, 20, 31)
    assert enlarged(torch.zeros(1, 3, 60, 40, dtype=torch.uint8), 16, 1.25).shape == (1, 3, 30, 20)
