"""Official checkpoints of SEAN are read as tensors only, by their keys."""

import pickle

import pytest
import torch

from kdx2i.errors import UserError
from kdx2i.methods.sean.discriminator import Discriminator
from kdx2i.methods.sean.networks import Generator
from kdx2i.teacher.official.state_dicts import load_official

SIZES = {"style_length": 4, "style_layers": 3, "encoder_width": 2, "hidden": 2}


def generator(labels=3):
    return Generator(2, labels, 32, **SIZES)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_fills_every_tensor(tmp_path, zipped, prefix):
    source, path = generator(), tmp_path / "latest_net_G.pth"
    state = {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    target = generator()
    load_official(target, path)
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name


def test_counters_of_batches_may_be_missing(tmp_path):
    source, path = generator(), tmp_path / "latest_net_G.pth"
    torch.save({n: t for n, t in source.state_dict().items() if "num_batches" not in n}, path)
    target = generator()
    load_official(target, path)
    assert torch.equal(target.up_0.conv_0.weight_orig, source.up_0.conv_0.weight_orig)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: Discriminator(3, 2).state_dict(), "lacks"),
        (lambda: generator(2).state_dict(), "has another size of"),
        (lambda: generator().state_dict() | {"extra": torch.zeros(1)}, "has, unlike the network, extra"),
        (lambda: {"epoch": 3}, "holds no state dict"),
        (lambda: {7: torch.zeros(1)}, "its tensors have no names"),
        (lambda: torch.zeros(2), "holds no state dict"),
    ],
)
def test_another_file_is_one_sentence(tmp_path, content, words):
    path, network = tmp_path / "latest_net_G.pth", generator()
    torch.save(content(), path)
    before = network.fc.weight.clone()
    with pytest.raises(UserError, match=words):
        load_official(network, path)
    assert torch.equal(network.fc.weight, before)


class Hostile:
    """A pickle that would run a command."""

    def __reduce__(self):
        return exec, ("raise SystemExit('run')",)


def test_nothing_of_a_file_is_run(tmp_path):
    path = tmp_path / "latest_net_G.pth"
    torch.save({"a": Hostile()}, path)
    with pytest.raises(UserError):
        load_official(generator(), path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError):
        load_official(generator(), path)
