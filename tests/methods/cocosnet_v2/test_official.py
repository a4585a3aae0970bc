"""Official files of CoCosNet v2: read by their names, and refused in one sentence."""

import pytest
import torch

from kdx2i.errors import UserError
from kdx2i.methods.cocosnet_v2.blocks import SpadeBlock
from kdx2i.methods.cocosnet_v2.networks import Discriminator
from kdx2i.methods.cocosnet_v2.official import load_official
from kdx2i.methods.cocosnet_v2.perceptual import feature_network
from kdx2i.teacher.official.state_dicts import read_official


def networks(seed):
    torch.manual_seed(seed)
    return {"generator": SpadeBlock(4, 2, 3), "discriminator": Discriminator(5, 2, 4, layers=2)}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints_load_by_their_names(tmp_path, prefix):
    official, own = networks(0), networks(1)
    for name, letter in (("generator", "G"), ("discriminator", "D")):
        state = {f"{prefix}{key}": tensor for key, tensor in official[name].state_dict().items()}
        torch.save(state, tmp_path / f"latest_net_{letter}.pth")
    load_official(own, tmp_path)
    for name, network in own.items():
        expected = official[name].state_dict()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in network.state_dict().items()), name


def test_a_file_of_other_sizes_is_refused_and_nothing_changes(tmp_path):
    official, own = networks(0), networks(1)
    torch.save(official["generator"].state_dict(), tmp_path / "latest_net_G.pth")
    torch.save(Discriminator(5, 2, 8, layers=2).state_dict(), tmp_path / "latest_net_D.pth")
    before = {key: tensor.clone() for key, tensor in own["generator"].state_dict().items()}
    with pytest.raises(
        UserError, match=r"latest_net_D.pth does not fit .*: it has another size of discriminator_0"
    ) as error:
        load_official(own, tmp_path)
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in own["generator"].state_dict().items())


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda state: {key: state[key] for key in list(state)[1:]}, "it lacks conv_0.bias"),
        (lambda state: {**state, "extra": torch.zeros(1)}, "it has, unlike the network, extra"),
        (lambda state: {"net": state}, "holds no state dict"),
        (lambda state: [1, 2], "holds no state dict"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path, edit, words):
    block = SpadeBlock(4, 2, 3)
    torch.save(edit(block.state_dict()), tmp_path / "net.pth")
    with pytest.raises(UserError, match=words):
        read_official(block, tmp_path / "net.pth")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"latest_net_G.pth does not exist"):
        load_official(networks(0), tmp_path)
    with pytest.raises(UserError, match=r"no/vgg19_conv.pth do not exist: .* efficientnet-lite1"):
        feature_network("vgg19", str(tmp_path / "no" / "vgg19_conv.pth"), torch.device("cpu"))
