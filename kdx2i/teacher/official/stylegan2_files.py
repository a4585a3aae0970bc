"""Official StyleGAN2 weights become a teacher of this project, without running any of their code.

Two kinds of file are known: the `.pt` of rosinality/stylegan2-pytorch and the `.pkl` of NVIDIA's
StyleGAN2-ADA and StyleGAN3 repositories. Both end in the networks of `kdx2i.teacher.stylegan2`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kdx2i import bounds
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.foreign import check_network, open_plain, refusing
from kdx2i.teacher.official import nvidia, rosinality
from kdx2i.teacher.official.pickle_reader import MalformedPickleError
from kdx2i.teacher.official.torch_files import LEGACY_MAGIC, LazyTensor, is_zip, materialise, read_torch_file
from kdx2i.teacher.outlines import shapes_only
from kdx2i.teacher.stylegan2 import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    MappingNetwork,
    config_dict,
)
from kdx2i.teacher.stylegan2.layers import fir_kernel
from kdx2i.teacher.stylegan2.weights import Teacher

MEAN_STYLE_SAMPLES = 4096
MAX_RESOLUTION = bounds.NETWORK_RESOLUTION
MAX_LAYERS = bounds.NETWORK_LAYERS


class Official(NamedTuple):
    """States under this project's names, their configurations (JSON objects) and where they come from."""

    generator: dict[str, Tensor]
    discriminator: dict[str, Tensor]
    config: dict[str, dict[str, Any]]
    provenance: dict[str, Any]


def load_official(path: Path) -> Official:
    """Read an official weight file; anything else, damaged or asking to run code, raises `UserError`."""
    with open_plain(path) as handle:
        head = handle.read(32)
    with refusing(f"{path} is damaged"):
        official = _read(path, head)
    for name, tensor in {**official.generator, **official.discriminator}.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path} is damaged: {name} holds values that are not finite")
    source = {"source": path.name, "source_sha256": sha256_file(path)}
    return official._replace(provenance={**source, **official.provenance})


def _read(path: Path, head: bytes) -> Official:
    """Read a file of the kind that its first bytes tell."""
    if is_zip(path) or LEGACY_MAGIC.to_bytes(10, "little") in head:
        return _load_rosinality(path)
    if head[:1] == b"\x80":
        return _load_nvidia(path)
    raise UserError(f"{path} is neither a .pt checkpoint of rosinality/stylegan2-pytorch nor a .pkl network of NVIDIA")


def import_official(path: Path) -> Teacher:
    """Return the networks of an official weight file, in evaluation mode and frozen."""
    official = load_official(path)
    generator = Generator(GeneratorConfig(**official.config["generator"]))
    discriminator = Discriminator(DiscriminatorConfig(**official.config["discriminator"]))
    generator.load_state_dict(official.generator)
    discriminator.load_state_dict(official.discriminator)
    generator.eval().requires_grad_(False)
    discriminator.eval().requires_grad_(False)
    return Teacher(generator, discriminator, official.provenance)


def _sizes_of(config: GeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """Return the fields of a configuration, none copied; `ValueError` for one that is neither a number nor a name."""
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(config).items()}
    for name, value in fields.items():
        for part in value if isinstance(value, list) else (value,):
            if not isinstance(part, int | float | str | None):
                raise ValueError(f"{name} is neither a number nor a name")
    return fields


def _outline(config: GeneratorConfig | DiscriminatorConfig, where: Path) -> Generator | Discriminator:
    """Return the network on the meta device (shapes only); impossible sizes raise `UserError`."""
    layers = config.num_layers if isinstance(config, GeneratorConfig) else config.mapping_layers
    try:
        if not 4 <= config.img_resolution <= MAX_RESOLUTION or not 1 <= layers <= MAX_LAYERS:
            raise ValueError("impossible sizes")
        check_network({"config": _sizes_of(config)}, where)
        with shapes_only():
            return Generator(config) if isinstance(config, GeneratorConfig) else Discriminator(config)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"{where} describes no StyleGAN2 network: {error}") from None


def _check_resolutions(generator: GeneratorConfig, discriminator: DiscriminatorConfig, where: Path) -> None:
    """Refuse a generator and a discriminator of different resolutions."""
    if generator.img_resolution != discriminator.img_resolution:
        raise UserError(
            f"{where} holds a generator for {generator.img_resolution} px "
            f"and a discriminator for {discriminator.img_resolution} px"
        )


def mean_style(mapping: MappingNetwork) -> Tensor:
    """Estimate the mean of w [w_dim] from fixed random z, as rosinality's `generate.py` does."""
    z = torch.randn(MEAN_STYLE_SAMPLES, mapping.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.cat([mapping(part) for part in torch.split(z, 512)]).mean(dim=0)


def _tensors_of(content: Any, key: str, path: Path) -> dict[str, LazyTensor]:
    """Return one state dict of a checkpoint."""
    state = content.get(key) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise UserError(f"{path} is not a whole rosinality StyleGAN2 checkpoint: it holds no '{key}'")
    if not all(isinstance(k, str) and isinstance(v, LazyTensor) for k, v in state.items()):
        raise UserError(f"{path} is damaged: '{key}' is not a table of tensors")
    return state


def _load_rosinality(path: Path) -> Official:
    """Read a `.pt` file: `g_ema`, `d` and, in converted files, `latent_avg`."""
    content = read_torch_file(path)
    lazy_g, lazy_d = _tensors_of(content, "g_ema", path), _tensors_of(content, "d", path)
    g_config = rosinality.infer_generator({k: t.size for k, t in lazy_g.items()}, path)
    d_config = rosinality.infer_discriminator({k: t.size for k, t in lazy_d.items()}, path)
    _check_resolutions(g_config, d_config, path)
    outlines = _outline(g_config, path), _outline(d_config, path)
    size = g_config.img_resolution
    states = []
    for outline, lazy in zip(outlines, (lazy_g, lazy_d), strict=True):
        expected = rosinality.official_state(outline, size)
        tensors = materialise({k: t for k, t in lazy.items() if k in expected}, path)
        states.append(rosinality.from_official(outline, tensors, size, path))
    note = _set_mean_style(states[0], g_config, content.get("latent_avg"), path)
    config = {"generator": config_dict(g_config), "discriminator": config_dict(d_config)}
    provenance = {"format": "rosinality/stylegan2-pytorch", "mean_style": note}
    return Official(states[0], states[1], config, provenance)


def _set_mean_style(state: dict[str, Tensor], config: GeneratorConfig, stored: Any, path: Path) -> str:
    """Fill in the mean of w from the file or by estimation; return which."""
    if isinstance(stored, LazyTensor) and stored.size in ((config.w_dim,), (1, config.w_dim)):
        state["mapping.w_avg"] = materialise({"latent_avg": stored}, path)["latent_avg"].float().reshape(-1)
        return "from the file"
    generator = Generator(replace(config, img_resolution=4, widths=(1,)))
    prefix = "mapping."
    mapping = generator.mapping
    mapping.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    state["mapping.w_avg"] = mean_style(mapping)
    return f"estimated from {MEAN_STYLE_SAMPLES} draws"


def _load_nvidia(path: Path) -> Official:
    """Read a network pickle: `G_ema` and `D`."""
    g_network, d_network = nvidia.read_networks(path)
    try:
        g_config, noise = nvidia.file_generator_config(g_network)
        d_config = nvidia.file_discriminator_config(d_network)
        lazy_g, lazy_d = g_network.tensors(), d_network.tensors()
    except (MalformedPickleError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    except UserError as error:
        raise UserError(f"{path} cannot be imported: {error}") from None
    _check_resolutions(g_config, d_config, path)
    generator = _fit(_outline(g_config, path), lazy_g, path, noise=noise)
    discriminator = _fit(_outline(d_config, path), lazy_d, path)
    config = {"generator": config_dict(g_config), "discriminator": config_dict(d_config)}
    return Official(generator, discriminator, config, {"format": "NVIDIA network pickle"})


def _fit(
    outline: Generator | Discriminator, tensors: Mapping[str, LazyTensor], path: Path, *, noise: bool = True
) -> dict[str, Tensor]:
    """Return the tensors in the order of our network; `noise=False` fills noise inputs with zeros."""
    expected = {name: tuple(tensor.shape) for name, tensor in outline.state_dict().items()}
    silent = set() if noise else {n for n in expected if n.endswith(("noise_const", "noise_strength"))}
    for name in sorted(expected.keys() - silent - tensors.keys()):
        raise UserError(f"{path} does not fit StyleGAN2: {name} is missing")
    for name in sorted(tensors.keys() - expected.keys()):
        raise UserError(f"{path} does not fit StyleGAN2: it has the unknown tensor {name}")
    for name, lazy in tensors.items():
        if lazy.size != expected[name]:
            raise UserError(f"{path} does not fit StyleGAN2: {name} has the shape {lazy.size}")
    state = materialise(tensors, path)
    for name, tensor in state.items():
        if name.endswith("resample_filter") and not torch.allclose(tensor.float(), fir_kernel(), atol=1e-6):
            raise UserError(f"{path} uses a resampling kernel other than (1, 3, 3, 1), which is not supported")
    return {n: torch.zeros(shape) if n in silent else state[n].float() for n, shape in expected.items()}
