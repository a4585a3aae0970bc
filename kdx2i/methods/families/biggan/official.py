"""Checkpoints of DeepI2I on BigGAN: `G.pth`, beside it `E1.pth` and `A1.pth`, flat each (`DeepI2I_BigGAN/utils.py`)."""

from pathlib import Path

from kdx2i.errors import UserError
from kdx2i.methods.published import Published, beside, materialised, read_flat, shapes_of
from kdx2i.teacher.biggan import BOTTOM, GENERATOR_WIDTHS

FILES = {"generator": "G.pth", "encoder": "E1.pth", "adaptor": "A1.pth"}


def read_biggan_model(path: Path) -> Published:
    """Return generator, encoder and adaptor; `path` is the generator's file. All sizes are those of the tensors."""
    files = [path, *beside(path, FILES["generator"], FILES["encoder"], FILES["adaptor"])]
    lazy = [read_flat(file) for file in files]
    shapes = shapes_of(path, lazy[0])
    blocks = shapes.count(r"blocks\.(\d+)\.0\.conv1\.weight$")
    side = BOTTOM << min(blocks, 8)
    if side not in GENERATOR_WIDTHS:
        raise UserError(f"{path} is no BigGAN of 32, 64, 128 or 256 px: it has {blocks} blocks")
    attention = [BOTTOM << (i + 1) for i in range(blocks) if shapes.has(f"blocks.{i}.1.gamma")]
    classes = shapes.of("shared.weight", 0)
    networks = {
        "width": shapes.of("blocks.0.0.conv1.weight", 1) // GENERATOR_WIDTHS[side][0],
        "teacher_classes": classes,
        "z_dim": shapes.of("linear.weight", 1) * (blocks + 1),
        "shared_dim": shapes.of("shared.weight", 1),
        "attention": attention[0] if attention else 0,
    }
    states = {
        name: materialised({name: state}, file)[name] for name, state, file in zip(FILES, lazy, files, strict=True)
    }
    return Published(networks, side, classes, states, tuple(files))
