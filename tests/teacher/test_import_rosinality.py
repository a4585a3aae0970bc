"""Checkpoints of rosinality/stylegan2-pytorch become the same teacher."""

import io
import zipfile

import pytest
import torch

from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.teacher.official import rosinality
from kdx2i.teacher.official.stylegan2_files import import_official, load_official
from kdx2i.teacher.official.torch_files import read_torch_file
from kdx2i.teacher.stylegan2 import Discriminator, Generator
from kdx2i.teacher.stylegan2.weights import load_teacher, save_teacher

from .official_files import official_state, rosinality_content, rosinality_networks


@pytest.fixture(scope="module")
def networks():
    return rosinality_networks()


def same_images(teacher, generator, discriminator):
    z = torch.randn(2, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        image, expected = teacher.generator(z, noise="const"), generator(z, noise="const")
        logits, wanted = teacher.discriminator(image), discriminator(expected)
    return torch.equal(image, expected) and torch.equal(logits, wanted)


@pytest.mark.parametrize("zipped", [True, False])
def test_round_trip_gives_identical_images(networks, tmp_path, zipped):
    path = tmp_path / "550000.pt"
    latent = torch.randn(1, 12)
    content = rosinality_content(*networks, latent_avg=latent)
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    teacher = import_official(path)
    assert same_images(teacher, *networks)
    assert torch.equal(teacher.generator.mapping.w_avg, latent[0])
    assert teacher.provenance["source_sha256"] == sha256_file(path)
    save_teacher(tmp_path / "teacher.safetensors", teacher.generator, teacher.discriminator, teacher.provenance)
    again = load_teacher(tmp_path / "teacher.safetensors")
    assert same_images(again, *networks)
    assert again.provenance == teacher.provenance


def test_mean_style_is_estimated_where_the_file_has_none(networks, tmp_path):
    path = tmp_path / "a.pt"
    torch.save(rosinality_content(*networks), path)
    official = load_official(path)
    assert official.provenance["mean_style"] == "estimated from 4096 draws"
    z = torch.randn(20000, 12, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        w = networks[0].mapping(z)
    error = (official.generator["mapping.w_avg"] - w.mean(0)).abs()
    assert bool((error < 5 * w.std(0) / 4096**0.5 + 1e-6).all())


def test_old_files_without_noise_buffers_load(networks, tmp_path):
    content = rosinality_content(*networks)
    state = {k: v for k, v in content["g_ema"].items() if not k.startswith("noises.")}
    torch.save(content | {"g_ema": state}, tmp_path / "a.pt")
    assert load_official(tmp_path / "a.pt").generator["synthesis.b4.conv1.noise_const"].shape == (4, 4)


def test_widths_beyond_the_usual_rule_are_read_from_the_file():
    assert rosinality.widths(64, 4) == [512, 512, 512, 512, 1024]
    with torch.device("meta"):
        module = Generator(rosinality.generator_config(64, 16, 2, rosinality.widths(64, 4)))
    inferred = rosinality.infer_generator(rosinality.official_state(module, 64), "a file")
    assert list(inferred.widths) == [512, 512, 512, 512, 1024]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"g_ema": None}, "holds no 'g_ema'"),
        ({"d": None}, "holds no 'd'"),
        ({"g_ema": 3}, "holds no 'g_ema'"),
        ({"g_ema": {"input.input": 3}}, "not a table of tensors"),
        ({"g_ema": {}}, "generator"),
    ],
)
def test_incomplete_checkpoints_are_named(networks, tmp_path, change, words):
    torch.save(rosinality_content(*networks, **change), tmp_path / "a.pt")
    with pytest.raises(UserError, match=words):
        load_official(tmp_path / "a.pt")


def test_missing_misshapen_foreign_and_broken_tensors_are_named(networks, tmp_path):
    path = tmp_path / "a.pt"
    content = rosinality_content(*networks)
    cases = {
        "convs.0.conv.weight": (lambda t: t[:, :, :2], "convs.0.conv.weight has the shape"),
        "conv1.activate.bias": (lambda t: None, "conv1.activate.bias is missing"),
        "convs.0.conv.blur.kernel": (lambda t: t * 2, "resampling kernel"),
        "conv1.noise.weight": (lambda t: t * torch.nan, "not finite"),
    }
    for key, (change, words) in cases.items():
        state = {k: change(v) if k == key else v for k, v in content["g_ema"].items()}
        torch.save(content | {"g_ema": {k: v for k, v in state.items() if v is not None}}, path)
        with pytest.raises(UserError, match=words):
            load_official(path)


def test_networks_of_different_resolutions_are_refused(networks, tmp_path):
    small = rosinality.discriminator_config(8, (8, 6))
    torch.save(rosinality_content(*networks, d=official_state(Discriminator(small), 8)), tmp_path / "a.pt")
    with pytest.raises(UserError, match="16 px and a discriminator for 8 px"):
        load_official(tmp_path / "a.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_every_dtype_and_view_is_read_as_torch_reads_it(tmp_path, zipped):
    base = torch.arange(24.0)
    content = {
        "view": base.reshape(4, 6)[1:, ::2],
        "transposed": base.reshape(4, 6).t(),
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "double": base.double(),
        "long": base.long(),
        "bool": base > 3,
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base),
        "list": [1, 2.5, "x", None, True, (3,)],
    }
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read_torch_file(tmp_path / "a.pt")
    assert found["list"] == content["list"]
    for name in content.keys() - {"list"}:
        assert torch.equal(found[name].load(), content[name]), name


def test_compressed_members_are_refused(networks, tmp_path):
    path, packed = tmp_path / "a.pt", tmp_path / "b.pt"
    torch.save(rosinality_content(*networks), path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(UserError, match="compressed"):
        load_official(packed)


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_files_are_refused(networks, tmp_path, zipped):
    buffer = io.BytesIO()
    torch.save(rosinality_content(*networks), buffer, _use_new_zipfile_serialization=zipped)
    data = buffer.getvalue()
    path = tmp_path / "a.pt"
    for length in [0, 1, 4, 40, 200, len(data) // 3, len(data) // 2, len(data) - 9]:
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"a\.pt"):
            load_official(path)


@pytest.mark.parametrize("content", [b"", b"hello world", b"<html>not found</html>", b"\x89PNG\r\n\x1a\n"])
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"neither a \.pt checkpoint"):
        load_official(path)
    with pytest.raises(UserError, match="does not exist"):
        load_official(tmp_path / "b.pt")
