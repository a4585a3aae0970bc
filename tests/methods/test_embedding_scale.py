"""Stage 2 gives a student embeddings on the scale of stage 1's pseudo-conditions: of training conditions alone."""

from pathlib import Path
from typing import Any

import pytest
import spoken
import tiny_text
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdx2i.encoders.damsm.files import save_damsm
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.embedding_scale import EmbeddingScale
from kdx2i.methods.s2igan import method as s2igan
from kdx2i.methods.s2igan import settings as s2igan_settings
from kdx2i.methods.ssa_gan import method as ssa_gan
from kdx2i.methods.ssa_gan import settings as ssa_gan_settings

CPU = torch.device("cpu")
SIDE = 32
NAMES = ("ssa_gan", "s2igan")


def build(name: str, folder: Path, *, images: bool = True, **train: Any) -> Any:
    """Return a small method of text or speech."""
    torch.manual_seed(1)
    if name == "ssa_gan":
        file = folder / "damsm.safetensors"
        save_damsm(file, tiny_text.damsm())
        networks = {"ngf": 2, "ndf": 4, "noise_dim": 6, "condition_dim": 16, "modulation_width": 8}
        chosen = ssa_gan_settings.Settings.model_validate({"networks": networks, "train": {"batch": 4, **train}})
        data: Any = tiny_text.paired_images() if images else None
        return ssa_gan.Method(MethodSetup(chosen, SIDE, 5, CPU, data, file))
    sizes = {"gf_dim": 8, "df_dim": 4, "condition_dim": 4, "noise_dim": 6, "speech_dim": 8, "residual_blocks": 1}
    settings = s2igan_settings.Settings.model_validate({"networks": sizes, "train": {"batch": 6, **train}})
    heard = spoken.paired(SIDE) if images else None
    return s2igan.Method(MethodSetup(settings, SIDE, 4, CPU, heard, spoken.encoder_file(folder)))


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken.register(monkeypatch)


def embeddings(method: Any, condition: Any) -> Tensor:
    """Return what the encoder puts out for some conditions."""
    if isinstance(method, ssa_gan.Method):
        return method.damsm.encode_text(condition.captions).sentences
    return method.encoder.embed_speech(condition)  # type: ignore[no-any-return]


def of_training(method: Any) -> Tensor:
    """Return the embeddings of the conditions that a scale is fitted to: one of each training image."""
    return torch.cat([embeddings(method, condition) for condition in method.images.conditions(100)])


def student(method: Any) -> dict[str, Tensor]:
    """Return the tensors of a student that is like a method."""
    state = method.networks["generator"].state_dict()
    return {f"generator.{name}": tensor.clone() for name, tensor in state.items()}


@given(st.integers(2, 60), st.integers(1, 9), st.floats(1e-3, 1e3), st.integers(0, 2**30))
def test_the_fitted_embeddings_have_mean_zero_and_deviation_one(
    count: int, size: int, factor: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = factor * (torch.randn(count, size, generator=generator) + 3.0)
    scale = EmbeddingScale(size)
    assert torch.equal(scale(raw), raw)
    scale.fit(torch.split(raw, 7))
    assert float(scale(raw).mean(0).abs().max()) < 1e-3
    assert float((scale(raw).std(0, correction=0) - 1).abs().max()) < 1e-3


def test_a_component_that_never_changes_is_zero() -> None:
    scale = EmbeddingScale(2)
    scale.fit([torch.tensor([[1.0, 5.0], [3.0, 5.0]])])
    assert scale(torch.tensor([[2.0, 5.0]])).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("chosen", "scratch", "distilled"), [("students", 0, 1), ("all", 1, 1), ("raw", 0, 0)])
def test_which_rows_are_scaled(name: str, chosen: str, scratch: int, distilled: int, tmp_path: Path) -> None:
    method = build(name, tmp_path, embedding_scale=chosen)
    raw = of_training(method)
    own = {True: (raw - raw.mean(0)) / raw.std(0, correction=0), False: raw}
    torch.testing.assert_close(method.averages["embeddings"](raw), own[bool(scratch)], rtol=1e-4, atol=1e-4)
    method.initialise(student(method), reset_encoders=False)
    for networks in (method.networks, method.averages):
        torch.testing.assert_close(networks["embeddings"](raw), own[bool(distilled)], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_training_and_generation_see_the_scaled_embeddings(name: str, tmp_path: Path) -> None:
    method = build(name, tmp_path)
    method.initialise(student(method), reset_encoders=False)
    seen: list[Tensor] = []
    for networks in (method.networks, method.averages):
        networks["generator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))  # after the noise
    torch.manual_seed(4)
    method.training_step(0)
    condition = next(method.images.conditions(5))
    method.generate(condition)
    trained, generated = seen
    torch.testing.assert_close(generated, method.averages["embeddings"](embeddings(method, condition)))
    raw = of_training(method)
    # The training's conditions are some of those of training, each on its scale.
    every = torch.cat([embeddings(method, method.images.task.given(
        torch.arange(len(raw)), torch.full((len(raw),), draw), None, CPU)) for draw in (0.0, 0.5, 0.9)])  # fmt: skip
    distances = torch.cdist(trained, method.networks["embeddings"](every))
    assert float(distances.min(1).values.max()) < 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_what_only_generates_takes_the_scale_of_the_file(name: str, tmp_path: Path) -> None:
    method = build(name, tmp_path)
    method.initialise(student(method), reset_encoders=False)
    loaded = build(name, tmp_path, images=False)
    for network, average in loaded.averages.items():
        average.load_state_dict(method.averages[network].state_dict())
    condition = next(method.images.conditions(4))
    drawn = []
    for one in (method, loaded):
        torch.manual_seed(2)
        drawn.append(one.generate(condition))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("name", NAMES)
def test_a_scale_is_fitted_to_training_conditions_alone(name: str, tmp_path: Path) -> None:
    images = build(name, tmp_path).images
    training = int((~images.task.is_test).sum())
    sizes = {"ssa_gan": lambda one: len(one.captions), "s2igan": lambda one: len(one.waveforms)}
    assert sum(map(sizes[name], images.conditions(1000, batch=3))) == training
    assert sum(map(sizes[name], images.conditions(3))) == 3
    if name == "ssa_gan":
        written = {text for condition in images.conditions(1000) for text in condition.captions}
        assert "an unseen thing" not in written
