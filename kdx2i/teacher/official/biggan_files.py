"""Official BigGAN weights become a teacher of this project, without running any of their code.

Known are the flat state dicts of ajbrock/BigGAN-PyTorch (`G_ema.pth` or `G.pth`, and `D.pth`) and, with the same
keys, those of DeepI2I, which has `E1.pth` and `A1.pth` beside them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.foreign import refusing
from kdx2i.teacher.biggan import (
    BOTTOM,
    DISCRIMINATOR_WIDTHS,
    GENERATOR_WIDTHS,
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
)
from kdx2i.teacher.biggan.weights import BigGANTeacher
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file
from kdx2i.teacher.outlines import shapes_only
from kdx2i.training.starts import weights_follow

Sizes = Mapping[str, tuple[int, ...]]


def import_biggan(paths: Sequence[Path]) -> BigGANTeacher:
    """Return the networks of official files, told apart by what they hold; E1 and D by E1's name.

    Anything else, damaged or asking to run code, raises `UserError`.
    """
    files = {path: _read(path) for path in paths}
    roles = {_role(path, {k: t.size for k, t in lazy.items()}): path for path, lazy in files.items()}
    if len(roles) < len(paths) or not {"generator", "discriminator"} <= set(roles):
        raise UserError(
            f"{', '.join(str(path) for path in paths)}: a BigGAN needs one generator (G_ema.pth or G.pth) and one "
            "discriminator (D.pth); with a model of DeepI2I, E1.pth and A1.pth may follow"
        )
    states = {role: (path, files[path]) for role, path in roles.items()}
    with refusing(f"{roles['generator']} or {roles['discriminator']} does not fit BigGAN"):
        g_config, d_config = _generator_config(*states["generator"]), _discriminator_config(*states["discriminator"])
    for name in ("resolution", "num_classes"):
        if getattr(g_config, name) != getattr(d_config, name):
            raise UserError(
                f"{roles['generator']} has {name} {getattr(g_config, name)}, "
                f"but {roles['discriminator']} has {getattr(d_config, name)}: they do not belong together"
            )
    with shapes_only():
        outlines: dict[str, nn.Module] = {"generator": Generator(g_config), "discriminator": Discriminator(d_config)}
    outlines["encoder"] = outlines["discriminator"]
    tensors = {role: _fit(outlines.get(role), *states[role]) for role in states}
    with weights_follow():
        generator, discriminator = Generator(g_config), Discriminator(d_config)
    generator.load_state_dict(tensors.pop("generator"))
    discriminator.load_state_dict(tensors.pop("discriminator"))
    generator.eval().requires_grad_(False)
    discriminator.eval().requires_grad_(False)
    provenance = {
        "format": "BigGAN-PyTorch",
        "source": {role: path.name for role, path in sorted(roles.items())},
        "source_sha256": {role: sha256_file(path) for role, path in sorted(roles.items())},
    }
    return BigGANTeacher(generator, discriminator, provenance, tensors)


def _read(path: Path) -> dict[str, LazyTensor]:
    """Read one flat state dict, lazily."""
    content = read_torch_file(path)
    if not isinstance(content, dict) or not content or not all(isinstance(v, LazyTensor) for v in content.values()):
        raise UserError(f"{path} is not a flat table of tensors, as BigGAN-PyTorch writes for one network")
    return content


def _role(path: Path, sizes: Sizes) -> str:
    """Tell which network a state dict belongs to."""
    if "shared.weight" in sizes:
        return "generator"
    first = sizes.get("blocks.0.0.conv1.weight", (0, 0))
    if len(first) != 4 or "embed.weight" not in sizes:
        raise UserError(f"{path} is no network of BigGAN or DeepI2I: it has neither a generator's nor a critic's keys")
    if first[1] != 3:
        return "adaptor"
    return "encoder" if path.name.startswith("E1") else "discriminator"


def _shape(sizes: Sizes, key: str, dimensions: int, path: Path) -> tuple[int, ...]:
    size = sizes.get(key, ())
    if len(size) != dimensions:
        raise UserError(f"{path} does not fit BigGAN: {key} is missing or has the shape {size}")
    return size


def _blocks(sizes: Sizes, path: Path) -> list[tuple[int, ...]]:
    """Return the shapes of all blocks' first convolutions, in order."""
    count = len({key for key in sizes if re.fullmatch(r"blocks\.\d+\.0\.conv1\.weight", key)})
    return [_shape(sizes, f"blocks.{i}.0.conv1.weight", 4, path) for i in range(count)]


def _attention(sizes: Sizes, sides: Sequence[int]) -> int:
    """Return the resolution after whose block there is an attention (0: none)."""
    return next((side for i, side in enumerate(sides) if f"blocks.{i}.1.gamma" in sizes), 0)


def _generator_config(path: Path, lazy: Mapping[str, LazyTensor]) -> GeneratorConfig:
    """Infer sizes from shapes; the two epsilons, which no file has, are those of the official scripts."""
    sizes = {key: tensor.size for key, tensor in lazy.items()}
    classes, shared = _shape(sizes, "shared.weight", 2, path)
    chunk = _shape(sizes, "linear.weight", 2, path)[1]
    blocks = _blocks(sizes, path)
    widths = [blocks[0][1], *(block[0] for block in blocks)] if blocks else []
    resolution = BOTTOM << len(blocks)
    _check_table(GENERATOR_WIDTHS, resolution, widths, path)
    return GeneratorConfig(
        resolution,
        widths[0] // GENERATOR_WIDTHS[resolution][0],
        classes,
        z_dim=chunk * (len(blocks) + 1),
        shared_dim=shared,
        attention=_attention(sizes, [BOTTOM << (i + 1) for i in range(len(blocks))]),
    )


def _discriminator_config(path: Path, lazy: Mapping[str, LazyTensor]) -> DiscriminatorConfig:
    """Infer sizes from shapes."""
    sizes = {key: tensor.size for key, tensor in lazy.items()}
    classes = _shape(sizes, "embed.weight", 2, path)[0]
    blocks = _blocks(sizes, path)
    widths = [_shape(sizes, f"blocks.{i}.0.conv2.weight", 4, path)[0] for i in range(len(blocks))]
    lengths = {len(table): resolution for resolution, table in DISCRIMINATOR_WIDTHS.items()}
    resolution = lengths.get(len(blocks), 0)
    _check_table(DISCRIMINATOR_WIDTHS, resolution, widths, path)
    config = DiscriminatorConfig(
        resolution,
        widths[0] // DISCRIMINATOR_WIDTHS[resolution][0],
        classes,
        attention=0,
        wide=blocks[0][0] == widths[0],
    )
    return DiscriminatorConfig(
        resolution, config.width, classes, attention=_attention(sizes, config.sides), wide=config.wide
    )


def _check_table(tables: Mapping[int, tuple[int, ...]], resolution: int, widths: Sequence[int], path: Path) -> None:
    """Refuse widths that are no multiple of an official table."""
    table = tables.get(resolution, ())
    if len(table) != len(widths) or any(w * table[0] != widths[0] * m for w, m in zip(widths, table, strict=True)):
        raise UserError(f"{path} is no BigGAN of 32, 64, 128 or 256 px: its blocks have the widths {widths}")


def _fit(outline: nn.Module | None, path: Path, lazy: Mapping[str, LazyTensor]) -> dict[str, Tensor]:
    """Return the tensors in float32 after their shapes were compared (an adaptor's are compared where it is used)."""
    if outline is not None:
        expected = {key: tuple(tensor.shape) for key, tensor in outline.state_dict().items()}
        wrong = sorted(k for k in expected.keys() | lazy.keys() if k not in lazy or expected.get(k) != lazy[k].size)
        if wrong:
            raise UserError(f"{path} does not fit BigGAN: see {wrong[0]}")
    state = {key: tensor.float() for key, tensor in materialise(lazy, path).items()}
    for key, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path} is damaged: {key} holds values that are not finite")
    return state
