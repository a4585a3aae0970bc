"""Network pickles of NVIDIA's repositories become the same teacher."""

import pytest
import torch

from kdx2i.errors import UserError
from kdx2i.teacher.official import nvidia
from kdx2i.teacher.official.stylegan2_files import import_official, load_official
from kdx2i.teacher.stylegan2.weights import load_teacher, save_teacher

from . import official_files as files


@pytest.fixture(scope="module")
def networks():
    return files.nvidia_networks()


def images(generator, discriminator):
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        image = generator(z, noise="const")
        return image, discriminator(image)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("stylegan3", [False, True])
def test_round_trip_gives_identical_images(networks, tmp_path, protocol, stylegan3):
    path = tmp_path / "network.pkl"
    path.write_bytes(files.nvidia_bytes(*networks, protocol=protocol, stylegan3=stylegan3))
    teacher = import_official(path)
    for own, expected in zip(images(teacher.generator, teacher.discriminator), images(*networks), strict=True):
        assert torch.equal(own, expected)
    assert torch.equal(teacher.generator.mapping.w_avg, networks[0].mapping.w_avg)
    assert teacher.generator.config.conv_clamp == 256
    assert teacher.discriminator.config.mbstd_group_size == 2
    save_teacher(tmp_path / "teacher.safetensors", teacher.generator, teacher.discriminator, teacher.provenance)
    again = load_teacher(tmp_path / "teacher.safetensors")
    for own, expected in zip(images(again.generator, again.discriminator), images(*networks), strict=True):
        assert torch.equal(own, expected)


def test_tensors_come_in_the_order_of_the_state_dict(networks, tmp_path):
    path = tmp_path / "network.pkl"
    path.write_bytes(files.nvidia_bytes(*networks))
    generator, discriminator = nvidia.read_networks(path)
    assert generator.class_name == "Generator"
    assert discriminator.class_name == "Discriminator"
    assert generator.tensors().keys() == networks[0].state_dict().keys()


def test_layer_attributes_say_more_than_defaults(networks, tmp_path):
    def without_clamp(g, _):
        options = {k: v for k, v in files.ADA_G_KWARGS.items() if k != "synthesis_kwargs"}
        g = files.persistent(networks[0], options | {"synthesis_kwargs": {"channel_base": 64, "channel_max": 8}}, "x")
        layer = g.meta["state"]["_modules"]["synthesis"].meta["state"]["_modules"]["b4"].meta["state"]["_modules"]
        layer["conv1"].meta["state"]["conv_clamp"] = 77
        return g

    path = tmp_path / "network.pkl"
    path.write_bytes(files.nvidia_bytes(*networks, G_ema=without_clamp))
    assert load_official(path).config["generator"]["conv_clamp"] == 77


def test_defaults_follow_the_source_in_the_file():
    assert nvidia.generator_config(files.SG3_G_KWARGS, stylegan3=True).conv_clamp == 256
    assert nvidia.generator_config(files.SG3_G_KWARGS).conv_clamp is None
    assert nvidia.generator_config(files.ADA_G_KWARGS).conv_clamp == 256
    assert nvidia.discriminator_config({"img_resolution": 32, "epilogue_kwargs": {"mbstd_group_size": None}}) == (
        nvidia.DiscriminatorConfig(32, mbstd_group_size=None)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"synthesis_kwargs": {"activation": "relu"}}, "activation relu"),
        ({"synthesis_kwargs": {"resample_filter": [1, 1]}}, "resampling kernel"),
        ({"synthesis_kwargs": {"magic": 1}}, "option magic"),
        ({"mapping_kwargs": {"normalise": 1}}, "option normalise"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        nvidia.generator_config({"img_resolution": 16, **options})


def test_generators_without_noise_get_silent_noise(networks, tmp_path):
    def no_noise(g, _):
        def strip(obj):
            tables = obj.meta["state"]
            for table in ("_parameters", "_buffers"):
                tables[table] = {k: v for k, v in tables[table].items() if not k.startswith("noise")}
            for child in tables["_modules"].values():
                strip(child)

        options = dict(files.ADA_G_KWARGS)
        options["synthesis_kwargs"] = {**options["synthesis_kwargs"], "use_noise": False}
        g = files.persistent(networks[0], options, "x")
        strip(g)
        return g

    path = tmp_path / "network.pkl"
    path.write_bytes(files.nvidia_bytes(*networks, G_ema=no_noise))
    official = load_official(path)
    assert float(official.generator["synthesis.b8.conv0.noise_strength"]) == 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"G_ema": None}, "holds no generator"),
        ({"D": 5}, "holds no discriminator"),
        ({"D": lambda g, d: g}, "holds no discriminator"),
        ({"G_ema": lambda g, d: files.Persistent("Generator", g.meta["state"], "", version=5)}, "unknown version"),
        ({"G_ema": lambda g, d: files.Persistent("Generator", {"_modules": {}}, "")}, "constructor options"),
    ],
)
def test_other_contents_are_named(networks, tmp_path, change, words):
    path = tmp_path / "network.pkl"
    path.write_bytes(files.nvidia_bytes(*networks, **change))
    with pytest.raises(UserError, match=words):
        load_official(path)


def changed_state(path_in_tree, table, name, value):
    """Return a change of one tensor deep inside the generator's tree."""

    def change(g, _):
        found = g
        for part in path_in_tree:
            found = found.meta["state"]["_modules"][part]
        if value is None:
            del found.meta["state"][table][name]
        else:
            found.meta["state"][table][name] = value
        return g

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed_state(["mapping", "fc0"], "_parameters", "weight", None), "mapping.fc0.weight is missing"),
        (changed_state(["mapping", "fc0"], "_parameters", "weight", torch.zeros(3, 3)), "fc0.weight has the shape"),
        (changed_state(["mapping"], "_buffers", "extra", torch.zeros(2)), "unknown tensor mapping.extra"),
        (changed_state(["synthesis"], "_parameters", "input.freqs", torch.zeros(2)), "StyleGAN3|unknown"),
        (changed_state(["synthesis"], "_parameters", "x", 3), "not a tensor"),
        (changed_state(["synthesis", "b8"], "_buffers", "resample_filter", torch.ones(4, 4)), "resampling kernel"),
        (changed_state(["mapping"], "_buffers", "w_avg", torch.full((8,), torch.inf)), "not finite"),
    ],
)
def test_networks_that_do_not_fit_are_named(networks, tmp_path, change, words):
    path = tmp_path / "network.pkl"
    path.write_bytes(files.nvidia_bytes(*files.nvidia_networks(), G_ema=change))
    with pytest.raises(UserError, match=words):
        load_official(path)


def test_modules_that_contain_each_other_are_refused(networks, tmp_path):
    def cycle(g, _):
        g.meta["state"]["_modules"]["synthesis"].meta["state"]["_modules"]["again"] = g
        return g

    path = tmp_path / "network.pkl"
    path.write_bytes(files.nvidia_bytes(*networks, G_ema=cycle))
    with pytest.raises(UserError, match=r"network\.pkl"):
        load_official(path)


def test_shared_modules_cannot_multiply(networks, tmp_path):
    def lattice(g, _):
        leaf = files.Persistent("L", {"_parameters": {"w": torch.zeros(1)}}, "")
        for _ in range(40):
            leaf = files.Persistent("L", {"_modules": {"a": leaf, "b": leaf}}, "")
        g.meta["state"]["_modules"]["mapping"] = leaf
        return g

    path = tmp_path / "network.pkl"
    path.write_bytes(files.nvidia_bytes(*files.nvidia_networks(), G_ema=lattice))
    with pytest.raises(UserError, match="nested too deeply, or too many"):
        load_official(path)
