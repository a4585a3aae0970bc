"""What paired methods share: conditions on the device, averages, previews, the refusal of a student, official files."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.paired.method import PairedMethod, on_device, set_rate
from kdx2i.methods.families.paired.settings import PairedSettings, PairedTrain
from kdx2i.methods.settings import StrictSettings
from kdx2i.methods.translation import averages_of
from kdx2i.tasks.conditions import CaptionCondition, LabelMapCondition, SpeechCondition
from kdx2i.teacher.official.state_dicts import load_official
from kdx2i.training.loop import update_averages

CPU, META = torch.device("cpu"), torch.device("meta")


class Counting(PairedMethod[PairedSettings, CaptionCondition]):
    """Images have the number of letters of their caption everywhere."""

    def _generate(self, condition):
        lengths = torch.tensor([float(len(text)) for text in condition.captions])
        return lengths[:, None, None, None].expand(-1, 3, 4, 4)


class Captions:
    def draw(self, batch):
        return torch.zeros(batch, 3, 4, 4), CaptionCondition(("",) * batch)


def method(images=None, **train):
    settings = PairedSettings(networks=StrictSettings(), train=PairedTrain(iterations=10, batch=2, **train))
    subject = Counting(MethodSetup(settings, 4, 1, CPU, images))
    subject.networks = {"generator": nn.Linear(1, 1)}
    subject.averages = averages_of(subject.networks, ["generator"])
    return subject


def test_all_tensors_of_a_condition_move_and_the_rest_stays():
    labels = LabelMapCondition(torch.zeros(1, 2, 2), ("a", "b"), torch.zeros(1, 3, 2, 2))
    moved = on_device(labels, META)
    assert (moved.maps.device, moved.references.device, moved.labels) == (META, META, ("a", "b"))
    speech = on_device(SpeechCondition((torch.zeros(3), torch.zeros(2)), 8000), META)
    assert [wave.device for wave in speech.waveforms] == [META, META]
    assert speech.rate == 8000
    captions = CaptionCondition(("one", "two"))
    assert on_device(captions, META) == captions
    with pytest.raises(TypeError, match="no condition"):
        on_device("a caption", META)


def test_images_are_bounded_and_previews_show_given_and_made():
    subject = method(Captions())
    assert (subject.generate(CaptionCondition(("abc",))) == 1).all()
    grid, per_row = subject.preview()
    assert grid.shape[0] == 2 * per_row and per_row == min(8, subject.settings.train.batch)
    assert (grid == 0).all()


def test_a_distilled_student_is_refused_where_there_is_none():
    with pytest.raises(UserError, match="paired has no distilled student; its transfer is `scratch`"):
        method().initialise({}, reset_encoders=False)
    with pytest.raises(RuntimeError, match="without images"):
        _ = method().images


def test_averages_start_where_they_are_told():
    subject = method(ema_decay=0.5)
    subject.averages_start = 3
    assert [subject.ema_decay(step) for step in (0, 2, 3, 4)] == [0.0, 0.0, 0.5, 0.5]
    with torch.no_grad():
        subject.networks["generator"].weight.fill_(1.0)
        subject.averages["generator"].weight.fill_(0.0)
    update_averages(subject, subject.ema_decay(3))
    assert subject.averages["generator"].weight.item() == 0.5
    subject.copy_to_averages()
    assert subject.averages["generator"].weight.item() == 1.0


def test_optimisers_hold_the_parameters_that_learn():
    subject = method()
    subject.networks["generator"].bias.requires_grad_(False)
    optimizer = subject.adam(("generator",), 0.1, (0.0, 0.9))
    assert [p for group in optimizer.param_groups for p in group["params"]] == [subject.networks["generator"].weight]
    set_rate(optimizer, 0.05)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05]


@pytest.mark.parametrize("form", ["bare", "parallel", "within", "legacy"])
def test_official_checkpoints_are_read(tmp_path, form):
    network, path = nn.Linear(3, 2), tmp_path / "net.pth"
    state = OrderedDict(weight=torch.rand(2, 3), bias=torch.rand(2))
    content = {f"module.{name}": tensor for name, tensor in state.items()} if form == "parallel" else state
    torch.save({"net": content} if form == "within" else content, path, _use_new_zipfile_serialization=form != "legacy")
    load_official(network, path, within="net" if form == "within" else None)
    assert torch.equal(network.weight, state["weight"])
    assert torch.equal(network.bias, state["bias"])


class Harmful:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"weight": torch.zeros(2, 3)}, r"does not fit the network .*bias"),
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}, "does not fit the network"),
        ({"weight": 1.0}, "holds no state dict"),
        ([torch.zeros(1)], "holds no state dict"),
        ({"weight": Harmful()}, "net.pth"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, capsys, content, sentence):
    path = tmp_path / "net.pth"
    torch.save(content, path)
    with pytest.raises(UserError, match=sentence):
        load_official(nn.Linear(3, 2), path)
    assert not capsys.readouterr().out
