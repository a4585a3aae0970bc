"""Import of official BigGAN and DeepI2I files: written here in their layout, read without running anything."""

import pickle

import pytest
import torch

from kdx2i.errors import UserError
from kdx2i.methods.families.biggan.networks import Adaptor, build_networks, copy_teacher
from kdx2i.methods.families.biggan.settings import BigGANNetworks
from kdx2i.stages.teacher import import_teacher
from kdx2i.teacher.biggan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.biggan.weights import load_biggan

G = GeneratorConfig(64, 2, 3, z_dim=20, shared_dim=4, attention=32)
D = DiscriminatorConfig(64, 8, 3, attention=32)


@pytest.fixture(params=["zip", "legacy"])
def files(tmp_path, request):
    torch.manual_seed(0)
    networks = {
        "G_ema": Generator(G),
        "D": Discriminator(D),
        "E1": Discriminator(D),
        "A1": Adaptor(G, D, (32, 16, 8, 4)),
    }
    paths = {}
    for name, network in networks.items():
        paths[name] = tmp_path / f"{name}.pth"
        torch.save(network.state_dict(), paths[name], _use_new_zipfile_serialization=request.param == "zip")
    return networks, paths, tmp_path / "teacher.safetensors"


def equal(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_two_files_become_a_teacher(files):
    networks, paths, target = files
    import_teacher([paths["D"], paths["G_ema"]], target)
    found = load_biggan(target)
    assert found.generator.config == G
    assert found.discriminator.config == D
    assert equal(found.generator, networks["G_ema"])
    assert equal(found.discriminator, networks["D"])
    assert found.provenance["source"] == {"discriminator": "D.pth", "generator": "G_ema.pth"}


def test_four_files_give_encoder_and_adaptor_too(files):
    networks, paths, target = files
    import_teacher(list(paths.values()), target)
    # The widths of the two networks differ here: no run could use them together, but the states are all there.
    found = load_biggan(target)
    for name, own in (("encoder", "E1"), ("adaptor", "A1")):
        assert all(torch.equal(found.more[name][k], v) for k, v in networks[own].state_dict().items())


def test_a_whole_model_starts_a_run(tmp_path):
    sizes = BigGANNetworks(width=2, teacher_classes=3, z_dim=20, shared_dim=4, attention=0)
    torch.manual_seed(1)
    model = build_networks(sizes, 64, 3, torch.device("cpu"))
    paths = [tmp_path / f"{name}.pth" for name in ("E1", "A1", "G", "D")]
    for path, network in zip(paths, model.values(), strict=True):
        torch.save(network.state_dict(), path)
    import_teacher(paths, tmp_path / "teacher.safetensors")
    other = build_networks(sizes, 64, 3, torch.device("cpu"))
    copy_teacher(other, tmp_path / "teacher.safetensors", "index")
    assert all(equal(model[name], other[name]) for name in model)


def test_what_does_not_belong_together_is_refused(files):
    _, paths, target = files
    with pytest.raises(UserError, match="needs one generator"):
        import_teacher([paths["D"], paths["A1"]], target)
    other = paths["D"].with_name("other.pth")
    torch.save(Discriminator(DiscriminatorConfig(64, 8, 4, attention=32)).state_dict(), other)
    with pytest.raises(UserError, match="do not belong together"):
        import_teacher([paths["G_ema"], other], target)
    state = Generator(G).state_dict()
    state["linear.bias"] = state["linear.bias"][:3]
    torch.save(state, other)
    with pytest.raises(UserError, match=r"see linear\.bias"):
        import_teacher([other, paths["D"]], target)
    assert not target.exists()


def test_nothing_is_run_and_nothing_damaged_is_taken(files, tmp_path):
    _, paths, target = files
    evil, marker = tmp_path / "evil.pth", tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    evil.write_bytes(pickle.dumps({"shared.weight": Evil()}))
    with pytest.raises(UserError):
        import_teacher([evil, paths["D"]], target)
    assert not marker.exists()
    state = Generator(G).state_dict()
    state["linear.bias"][0] = float("nan")
    torch.save(state, evil)
    with pytest.raises(UserError, match="not finite"):
        import_teacher([evil, paths["D"]], target)
    assert not target.exists()
