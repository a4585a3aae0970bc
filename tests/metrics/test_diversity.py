"""LPIPS diversity: the package's own pairs, the order of images, and where its weights come from."""

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.perceptual import trunks
from kdx2i.metrics.perceptual.diversity import diversity, mean_pair_distance
from kdx2i.metrics.perceptual.trunks import TRUNKS, PerceptualNetwork, bare_model, build_perceptual, from_model

CPU = torch.device("cpu")


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.fixture(scope="module", params=["alexnet", "squeezenet"])
def named_model(request):
    torch.manual_seed(0)
    return request.param, bare_model(request.param)


def random_network() -> PerceptualNetwork:
    generator = torch.Generator().manual_seed(1)
    kernels = [torch.randn(8, 3, 3, 3, generator=generator), torch.randn(5, 8, 3, 3, generator=generator)]
    heads = [torch.rand(8, generator=generator).double(), torch.rand(5, generator=generator).double()]

    def trunk(images: Tensor) -> list[Tensor]:
        first = torch.nn.functional.conv2d(images.float() / 255, kernels[0]).relu()
        return [first, torch.nn.functional.conv2d(first, kernels[1], stride=2).relu()]

    return PerceptualNetwork("random", "0" * 64, "lpips", CPU, trunk, heads)


def test_equals_the_package_pair_by_pair(named_model) -> None:
    name, model = named_model
    images = random_images(2, 4, 3, 64, 64)
    x = images.float() / 127.5 - 1.0
    per_source = [
        torch.stack([model(x[s, i : i + 1], x[s, j : j + 1]) for i in range(4) for j in range(i)]).mean()
        for s in range(2)
    ]
    entry = diversity(images, from_model(model, name, "", "lpips", CPU))
    assert entry["value"] == pytest.approx(float(torch.stack(per_source).mean()), rel=1e-6, abs=1e-6)
    half = float((per_source[0] - per_source[1]).abs()) / 2
    assert entry["standard_error"] == pytest.approx(half, rel=1e-2)
    assert (entry["n_sources"], entry["n_generated"], entry["outputs_per_source"]) == (2, 8, [4, 4])


def test_building_leaves_the_random_state_alone() -> None:
    state = torch.random.get_rng_state()
    bare_model("alexnet")
    assert torch.equal(torch.random.get_rng_state(), state)


@given(st.integers(2, 5), st.integers(0, 10**6))
def test_equal_images_have_no_diversity_and_the_order_does_not_matter(count: int, seed: int) -> None:
    network = random_network()
    images = random_images(count, 3, 12, 12, seed=seed)
    assert mean_pair_distance(images[:1].expand(count, -1, -1, -1), network) == 0.0
    value = mean_pair_distance(images, network)
    assert value > 0.0
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    assert mean_pair_distance(images[order], network) == pytest.approx(value, rel=1e-9)
    # A distance between two images is symmetric, and its mean over pairs needs no more than two at a time.
    pairs = [mean_pair_distance(images[[i, j]], network) for i in range(count) for j in range(i)]
    assert value == pytest.approx(sum(pairs) / len(pairs), rel=1e-9)


def test_the_normalisation_of_stargan_v2() -> None:
    model = bare_model("alexnet")
    images = random_images(3, 3, 64, 64)
    network = from_model(model, "alexnet", "", "stargan-v2", CPU)
    total = torch.zeros((), dtype=torch.float64)
    layers = model.net(model.scaling_layer(images.float() / 127.5 - 1.0))
    for layer, head in zip(layers, network.heads, strict=True):
        f = layer.double() * (layer.double().square().sum(1, keepdim=True) + 1e-10).rsqrt()
        for i, j in ((0, 1), (0, 2), (1, 2)):
            total += ((f[i] - f[j]).square() * head[:, None, None]).sum(0).mean() / 3
    assert mean_pair_distance(images, network) == pytest.approx(float(total), rel=1e-5)
    # A position without any activation is where the two differ: nothing may become NaN there.
    blank = PerceptualNetwork("zero", "", "stargan-v2", CPU, lambda x: [torch.zeros(len(x), 2, 3, 3)], [torch.ones(2)])
    assert mean_pair_distance(images, blank) == 0.0


def test_the_stand_in_says_what_it_is() -> None:
    network = build_perceptual("efficientnet-lite0")
    entry = diversity(random_images(2, 2, 3, 64, 64), network)
    assert entry["value"] > 0.0
    assert entry["stand_in"]
    assert entry["lpips_network"] == "efficientnet-lite0"
    layers = network.activations(random_images(1, 3, 64, 64))
    assert [tuple(layer.shape[1:]) for layer in layers] == [
        (16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)
    ]  # fmt: skip
    with pytest.raises(UserError, match="multiples of 32, not 40 x 64"):
        network.activations(random_images(1, 3, 40, 64))


def test_weights_are_found_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = TRUNKS["alexnet"]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv(trunk.variable, raising=False)
    with pytest.raises(UserError, match=r"not on this machine; fetch it with: curl .*alexnet-owt-7be5be79\.pth"):
        build_perceptual("alexnet")
    with pytest.raises(UserError, match="cannot be read"):
        build_perceptual("alexnet", weights_path=tmp_path / "none.pth")
    donor = bare_model("alexnet")
    state = {f"features.{key.split('.', 1)[1]}": value for key, value in donor.net.state_dict().items()}
    path = tmp_path / "trunk.pth"
    torch.save({**state, "classifier.6.bias": torch.zeros(1000)}, path)
    with pytest.raises(UserError, match=r"expected 7be5be79\.\.\."):
        build_perceptual("alexnet", weights_path=path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(trunks.TRUNKS, "alexnet", trunk._replace(file=f"alexnet-owt-{digest[:8]}.pth"))
    monkeypatch.setenv(trunk.variable, str(path))
    images = random_images(2, 3, 64, 64)
    entry = build_perceptual("alexnet")
    assert entry.sha256 == digest
    assert mean_pair_distance(images, entry) == mean_pair_distance(images, from_model(donor, "", "", "lpips", CPU))
    torch.save({"features.0.weight": torch.zeros(1)}, path)
    other = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(trunks.TRUNKS, "alexnet", trunk._replace(file=f"alexnet-owt-{other[:8]}.pth"))
    with pytest.raises(UserError, match="does not hold the weights of alexnet"):
        build_perceptual("alexnet")


def test_wrong_input_is_one_sentence() -> None:
    network = random_network()
    with pytest.raises(UserError, match="there is no LPIPS network 'x'"):
        build_perceptual("x")
    with pytest.raises(UserError, match="uint8 images"):
        diversity(torch.zeros(1, 2, 3, 12, 12), network)
    single = diversity([random_images(2, 3, 12, 12), random_images(1, 3, 12, 12)], network)
    assert single["value"] is None
    assert "1 of 2 sources have one output" in single["reason"]
    assert diversity([], network)["value"] is None
    assert diversity(random_images(1, 2, 3, 12, 12), network)["standard_error"] is None
