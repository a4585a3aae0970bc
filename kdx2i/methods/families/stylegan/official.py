"""Checkpoints of DeepI2I on StyleGAN (`DeepI2I_StyleGAN/train.py`): one dict for the model of one direction."""

from pathlib import Path

from kdx2i.config import validate
from kdx2i.methods.families.stylegan.backbone import Backbone
from kdx2i.methods.families.stylegan.settings import StyleGANNetworks
from kdx2i.methods.published import Published, read_parts, shapes_of
from kdx2i.teacher.official.stylegan1_files import read_stylegan1

OFFICIAL_RESOLUTION = 256
LARGEST_ADDED = 32


def read_stylegan_model(path: Path, resolution: int | None) -> Published:
    """Return generator (its average where there is one), encoder and adaptor, for noise only.

    The released code has no network for reference guidance. All sizes are those of the tensors but the official weights
    of the adapted features: 0.1 up to 32 px, above nothing.
    """
    parts = read_parts(path, "generator", "encoder", "align")
    shapes, adaptor = (shapes_of(path, parts[name]) for name in ("generator", "align"))
    blocks = min(shapes.count(r"generator\.progression\.(\d+)\."), 12)
    last, w_dim = blocks - 1, shapes.of("style.1.linear.weight_orig", 0)
    adapted = [4 << i for i in range(min(adaptor.count(r"progression\.(\d+)\."), blocks))]
    networks = {
        "backbone": "stylegan1",
        "z_dim": w_dim,
        "w_dim": w_dim,
        "mapping_layers": shapes.count(r"style\.(\d+)\.linear\.weight_orig"),
        "channel_max": shapes.of("generator.progression.0.conv1.input", 1),
        "channel_base": shapes.of(f"generator.progression.{last}.conv2.conv.weight_orig", 0) * (4 << last),
        "max_resolution": 4 << last,
        "addition_weights": {str(r): 0.1 if r <= LARGEST_ADDED else 0.0 for r in adapted},
    }
    side = resolution or OFFICIAL_RESOLUTION
    sizes = validate(StyleGANNetworks, networks, str(path))
    states = read_stylegan1(path, Backbone(sizes, side).stylegan1_config)
    drawn = {
        "generator_0": states.get("g_running", states["generator"]),
        "adaptor_0": states["align"],
        "encoder": states["encoder"],
    }
    return Published(networks, side, 1, drawn, (path,), modes=("latent",), one_direction=True)
