"""The four networks of StarGAN v2 (`core/model.py` of clovaai/stargan-v2).

Images are [B, 3, H, W] in [-1, 1]; labels y are int64 [B]. State dicts have the official keys, so that
official checkpoints load with `load_state_dict`. `dim_in`, `hidden_dim` and `num_down` exist for the reduced
presets; left out, they have the official values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.families.stargan.blocks import SLOPE, AdainResBlk, DomainHeads, HighPass, ResBlk, he_init
from kdx2i.methods.stargan_v2.settings import Networks
from kdx2i.training.precision import place

HintBlock = Literal["first", "last"]
HPF_HEIGHTS = (32, 64, 128)
NETWORKS = ("generator", "mapping_network", "style_encoder", "discriminator")


def _exponent(img_size: int) -> int:
    """Return log2 of the image size, rounded down as the official code does."""
    if img_size < 4:
        raise ValueError(f"StarGAN v2 needs images of at least 4 pixels, not {img_size}")
    return int(math.log2(img_size))


def _stem_width(img_size: int, dim_in: int | None) -> int:
    """Return the width of the first convolution, officially 2**14 // img_size."""
    return 2**14 // img_size if dim_in is None else dim_in


def by_resolution(features: Sequence[Tensor], choose: HintBlock) -> dict[int, Tensor]:
    """Index features [B, C, r, r] by their height r; of several with one height, keep the first or the last."""
    chosen: dict[int, Tensor] = {}
    for feature in features:
        if choose == "last" or feature.shape[2] not in chosen:
            chosen[feature.shape[2]] = feature
    return chosen


class Generator(nn.Module):
    """Image and style -> image of the same size, unbounded (no tanh).

    `encode` is the paper's content encoder, `decode` its generator. `num_down` is the number of halvings
    (officially log2(img_size) - 4, a bottleneck of 16 px, and one more when `w_hpf > 0`); two more blocks on
    each side work at the bottleneck's size. `hint_block` chooses which of the blocks at the bottleneck's
    size the feature functions return (protocol entry stargan-v2-hint-block).
    """

    def __init__(
        self,
        img_size: int = 256,
        style_dim: int = 64,
        max_conv_dim: int = 512,
        w_hpf: float = 0.0,
        *,
        dim_in: int | None = None,
        num_down: int | None = None,
        hint_block: HintBlock = "last",
    ) -> None:
        super().__init__()
        self.img_size, self.style_dim, self.w_hpf, self.hint_block = img_size, style_dim, w_hpf, hint_block
        width = _stem_width(img_size, dim_in)
        if num_down is None:
            num_down = max(_exponent(img_size) - 4, 0) + (1 if w_hpf > 0 else 0)
        self.from_rgb = nn.Conv2d(3, width, 3, padding=1)
        to_rgb = (nn.InstanceNorm2d(width, affine=True), nn.LeakyReLU(SLOPE), nn.Conv2d(width, 3, 1))
        encode, decode = nn.ModuleList(), nn.ModuleList()
        for _ in range(num_down):
            wider = min(width * 2, max_conv_dim)
            encode.append(ResBlk(width, wider, normalize=True, downsample=True))
            decode.insert(0, AdainResBlk(wider, width, style_dim, w_hpf=w_hpf, upsample=True))
            width = wider
        for _ in range(2):
            encode.append(ResBlk(width, width, normalize=True))
            decode.insert(0, AdainResBlk(width, width, style_dim, w_hpf=w_hpf))
        self.encode, self.decode = encode, decode
        self.to_rgb = nn.Sequential(*to_rgb)
        self.num_down, self.bottleneck_dim = num_down, width
        if w_hpf > 0:
            self.hpf = HighPass(w_hpf)

    def encode_blocks(self, x: Tensor) -> list[Tensor]:
        """x [B, 3, H, W] -> the outputs of `from_rgb` and of every encoder block, the bottleneck last."""
        outputs = [cast(Tensor, self.from_rgb(x))]
        for block in self.encode:
            outputs.append(block(outputs[-1]))
        return outputs

    def decode_blocks(
        self,
        h: Tensor,
        s: Tensor,
        *,
        cache: Mapping[int, Tensor] | None = None,
        masks: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """h (bottleneck), s [B, style_dim] -> the image and the output of every decoder block.

        With `masks` (at 32 px; at 64 and 128 px), the high-pass filtered encoder features of `cache`, by
        height, are added after the blocks of these heights (`w_hpf > 0` only).
        """
        if masks is not None and self.w_hpf <= 0:
            raise ValueError("masks need a generator with w_hpf > 0")
        outputs = []
        for block in self.decode:
            h = block(h, s)
            outputs.append(h)
            height = h.shape[2]
            if masks is not None and cache is not None and height in HPF_HEIGHTS:
                mask = masks[0] if height == HPF_HEIGHTS[0] else masks[1]
                mask = F.interpolate(mask, size=height, mode="bilinear", align_corners=False)
                h = h + self.hpf(mask * cache[height])
        return self.to_rgb(h), outputs

    def content(self, x: Tensor) -> Tensor:
        """x [B, 3, H, W] -> bottleneck [B, C, h, w], which depends on the image only."""
        return self.encode_blocks(x)[-1]

    def render(self, h: Tensor, s: Tensor) -> Tensor:
        """Bottleneck and style [B, style_dim] -> image."""
        return self.decode_blocks(h, s)[0]

    def encode_features(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the bottleneck of x [B, 3, H, W] and its feature of each resolution, "G_enc(x)_l" of eq. (1)."""
        outputs = self.encode_blocks(x)
        return outputs[-1], by_resolution(outputs, self.hint_block)

    def decode_features(self, h: Tensor, s: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the image [B, 3, H, W] of a bottleneck and styles [B, S], and the feature of each resolution."""
        image, outputs = self.decode_blocks(h, s)
        return image, by_resolution(outputs, self.hint_block)

    def forward(self, x: Tensor, s: Tensor, masks: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x [B, 3, H, W], s [B, style_dim] -> image [B, 3, H, W]."""
        outputs = self.encode_blocks(x)
        cache = {f.shape[2]: f for f in outputs[:-1]} if masks is not None else None
        return self.decode_blocks(outputs[-1], s, cache=cache, masks=masks)[0]


class MappingNetwork(nn.Module):
    """Noise z [B, latent_dim] and domain -> style [B, style_dim]; the width 512 is officially fixed."""

    def __init__(
        self, latent_dim: int = 16, style_dim: int = 64, num_domains: int = 2, *, hidden_dim: int = 512
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_domains = latent_dim, num_domains
        layers: list[nn.Module] = [nn.Linear(latent_dim, hidden_dim), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Linear(hidden_dim, hidden_dim), nn.ReLU()]
        self.shared = nn.Sequential(*layers)
        self.unshared = DomainHeads(num_domains, [hidden_dim] * 4 + [style_dim], nested=True)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """z [B, latent_dim], y [B] -> [B, style_dim]."""
        return cast(Tensor, self.unshared(self.shared(z), y))


def _trunk(img_size: int, max_conv_dim: int, dim_in: int | None) -> tuple[list[nn.Module], int]:
    """Return the layers that style encoder and discriminator share in form, and their final width."""
    width = _stem_width(img_size, dim_in)
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
    for _ in range(_exponent(img_size) - 2):
        wider = min(width * 2, max_conv_dim)
        layers.append(ResBlk(width, wider, downsample=True))
        width = wider
    layers += [nn.LeakyReLU(SLOPE), nn.Conv2d(width, width, 4), nn.LeakyReLU(SLOPE)]
    return layers, width


def _trunk_features(layers: nn.Sequential, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """Run the trunk; return its output [B, C, 1, 1] and the features of the stem and of every block."""
    features: dict[int, Tensor] = {}
    for layer in layers:
        x = layer(x)
        if isinstance(layer, ResBlk) or not features:
            features[x.shape[2]] = x
    return x, features


class StyleEncoder(nn.Module):
    """Image of exactly img_size and domain -> style [B, style_dim]."""

    def __init__(
        self,
        img_size: int = 256,
        style_dim: int = 64,
        num_domains: int = 2,
        max_conv_dim: int = 512,
        *,
        dim_in: int | None = None,
    ) -> None:
        super().__init__()
        self.num_domains = num_domains
        layers, width = _trunk(img_size, max_conv_dim, dim_in)
        self.shared = nn.Sequential(*layers)
        self.unshared = DomainHeads(num_domains, [width, style_dim], nested=False)

    def features(self, x: Tensor) -> dict[int, Tensor]:
        """Return the feature of each resolution from img_size to 4, "E_sty(x)_l" of eq. (1)."""
        return _trunk_features(self.shared, x)[1]

    def style_and_features(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the style and the features of one pass."""
        h, features = _trunk_features(self.shared, x)
        return self.unshared(h.flatten(1), y), features

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x [B, 3, img_size, img_size], y [B] -> [B, style_dim]."""
        return self.style_and_features(x, y)[0]


class Discriminator(nn.Module):
    """Image of exactly img_size and domain -> logit [B] of being real in that domain."""

    def __init__(
        self,
        img_size: int = 256,
        num_domains: int = 2,
        max_conv_dim: int = 512,
        *,
        dim_in: int | None = None,
    ) -> None:
        super().__init__()
        self.num_domains = num_domains
        layers, width = _trunk(img_size, max_conv_dim, dim_in)
        self.main = nn.Sequential(*layers, nn.Conv2d(width, num_domains, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x [B, 3, img_size, img_size], y [B] -> [B]."""
        return cast(Tensor, self.main(x).flatten(1)).gather(1, y[:, None]).squeeze(1)


def replicate_domains(state: Mapping[str, Tensor], num_domains: int) -> dict[str, Tensor]:
    """Copy the one domain of a distilled student's state dict to every domain of a stage-2 network.

    Works for the mapping network and the style encoder (`unshared.0.*` becomes `unshared.<d>.*`) and for the
    discriminator (its last convolution gets one equal row a domain). A state with more than one domain
    raises `ValueError`.
    """
    heads = [key for key in state if key.startswith("unshared.")]
    if any(not key.startswith("unshared.0.") for key in heads):
        raise ValueError("only a network with one domain can be replicated")
    result = {key: value for key, value in state.items() if key not in heads}
    for d in range(num_domains):
        for key in heads:
            result[f"unshared.{d}." + key.removeprefix("unshared.0.")] = state[key].clone()
    outputs = [int(key.split(".")[1]) for key in state if key.startswith("main.")]
    for part in ("weight", "bias"):
        if outputs:
            last = f"main.{max(outputs)}.{part}"
            if state[last].shape[0] != 1:
                raise ValueError("only a network with one domain can be replicated")
            result[last] = state[last].repeat_interleave(num_domains, dim=0)
    return result


def build_networks(
    sizes: Networks, resolution: int, num_domains: int, device: torch.device, *, he: bool = True
) -> dict[str, nn.Module]:
    """Return the four networks on the device, initialised from torch's global generator: He's way, or torch's own."""
    n = sizes
    networks: dict[str, nn.Module] = {
        "generator": Generator(
            resolution,
            n.style_dim,
            n.max_conv_dim,
            dim_in=n.dim_in,
            num_down=n.num_down,
            hint_block=n.hint_block,
        ),
        "mapping_network": MappingNetwork(n.latent_dim, n.style_dim, num_domains, hidden_dim=n.hidden_dim),
        "style_encoder": StyleEncoder(resolution, n.style_dim, num_domains, n.max_conv_dim, dim_in=n.dim_in),
        "discriminator": Discriminator(resolution, num_domains, n.max_conv_dim, dim_in=n.dim_in),
    }
    if he:
        for network in networks.values():
            he_init(network)
    return {name: place(network, device) for name, network in networks.items()}
