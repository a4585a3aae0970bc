"""Layers of label-map networks (`models/networks` of NVlabs/SPADE at fecacc9), with the official tensor names."""

import re
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import spectral_norm
from torch.nn.utils.spectral_norm import SpectralNorm

SLOPE = 0.2
HIDDEN = 128
"""Width of the convolutions between a map and a norm's scale and shift."""
NormKind = Literal["instance", "batch", "syncbatch"]


class BatchNorm(nn.SyncBatchNorm):
    """Batch norm over the joint batch of all processes with a GPU each; over this process's share on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        if x.device.type == "cpu":
            return _BatchNorm.forward(self, x)
        normal: Tensor = super().forward(x)
        return normal


def norm(kind: NormKind, channels: int, *, affine: bool) -> nn.Module:
    """Return a norm; an instance norm has neither parameters nor running statistics."""
    if kind == "instance":
        return nn.InstanceNorm2d(channels)
    return BatchNorm(channels, affine=affine) if kind == "syncbatch" else nn.BatchNorm2d(channels, affine=affine)


def spectral(layer: nn.Module, use: bool = True) -> nn.Module:
    """Normalise a layer spectrally: one power iteration in training mode, none in evaluation mode."""
    return spectral_norm(layer) if use else layer


def normalised(layer: nn.Conv2d, kind: str) -> nn.Module:
    """Return a convolution with the norm of an official option such as `spectralinstance` or `spectral`.

    A norm behind it takes the convolution's bias away (`get_nonspade_norm_layer`). `ValueError` for another option.
    """
    rest = kind.removeprefix("spectral")
    names: dict[str, NormKind] = {"instance": "instance", "batch": "batch", "syncbatch": "syncbatch"}
    names["sync_batch"] = "syncbatch"
    if rest not in ("", "none", *names):
        raise ValueError(f"there is no norm {kind!r}")
    use = kind.startswith("spectral")
    if rest in ("", "none"):
        return spectral(layer, use)
    layer.register_parameter("bias", None)
    return nn.Sequential(spectral(layer, use), norm(names[rest], layer.out_channels, affine=True))


class SpatialNormKind(NamedTuple):
    """The official option of a generator's norms: `spectralspadesyncbatch3x3`."""

    spectral: bool
    norm: NormKind
    kernel: int

    @classmethod
    def parse(cls, option: str) -> "SpatialNormKind":
        """Read the option; `ValueError` for another one."""
        match = re.fullmatch(r"(spectral)?spade(instance|batch|syncbatch)(\d)x\3", option)
        if match is None:
            raise ValueError(f"there is no norm {option!r}")
        kind: NormKind = match[2]  # type: ignore[assignment]
        return cls(match[1] is not None, kind, int(match[3]))


class SpatiallyAdaptiveNorm(nn.Module):
    """`SPADE`: a norm without parameters, then a scale and a shift for each pixel, convolved from a map.

    Official codes call the inner norm `param_free_norm` (SPADE, SEAN) or `first_norm` (OASIS).
    """

    def __init__(
        self,
        channels: int,
        label_nc: int,
        kind: NormKind = "syncbatch",
        kernel: int = 3,
        *,
        hidden: int = HIDDEN,
        inner: str = "param_free_norm",
    ) -> None:
        super().__init__()
        self.inner = inner
        self.add_module(inner, norm(kind, channels, affine=False))
        self.mlp_shared = nn.Sequential(nn.Conv2d(label_nc, hidden, kernel, padding=kernel // 2), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, kernel, padding=kernel // 2)
        self.mlp_beta = nn.Conv2d(hidden, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, segmentation: Tensor) -> Tensor:
        """Modulate x [B, C, h, w] by a map [B, N, H, W], which is resized to x by the nearest pixel."""
        features = self.mlp_shared(F.interpolate(segmentation, size=x.shape[2:], mode="nearest"))
        normal = self.get_submodule(self.inner)(x)
        result: Tensor = normal * (1 + self.mlp_gamma(features)) + self.mlp_beta(features)
        return result


class SpatialResBlock(nn.Module):
    """`SPADEResnetBlock`: two convolutions behind spatially adaptive norms; its shortcut has a norm, no activation."""

    def __init__(
        self,
        fin: int,
        fout: int,
        label_nc: int,
        kind: SpatialNormKind,
        *,
        hidden: int = HIDDEN,
        inner: str = "param_free_norm",
    ) -> None:
        super().__init__()
        middle = min(fin, fout)
        self.learned_shortcut = fin != fout
        self.conv_0 = spectral(nn.Conv2d(fin, middle, 3, padding=1), kind.spectral)
        self.conv_1 = spectral(nn.Conv2d(middle, fout, 3, padding=1), kind.spectral)

        def adaptive(channels: int) -> SpatiallyAdaptiveNorm:
            return SpatiallyAdaptiveNorm(channels, label_nc, kind.norm, kind.kernel, hidden=hidden, inner=inner)

        self.norm_0, self.norm_1 = adaptive(fin), adaptive(middle)
        if self.learned_shortcut:
            self.conv_s = spectral(nn.Conv2d(fin, fout, 1, bias=False), kind.spectral)
            self.norm_s = adaptive(fin)

    def shortcut(self, x: Tensor, segmentation: Tensor) -> Tensor:
        """[B, I, h, w] -> [B, O, h, w]."""
        result: Tensor = self.conv_s(self.norm_s(x, segmentation)) if self.learned_shortcut else x
        return result

    def forward(self, x: Tensor, segmentation: Tensor) -> Tensor:
        """x [B, I, h, w], map [B, N, H, W] -> [B, O, h, w]."""
        inner = self.conv_0(F.leaky_relu(self.norm_0(x, segmentation), SLOPE))
        inner = self.conv_1(F.leaky_relu(self.norm_1(inner, segmentation), SLOPE))
        result: Tensor = self.shortcut(x, segmentation) + inner
        return result


def add_first(x: Tensor, first: Tensor | None) -> Tensor:
    """Return x [B, C, h, w], summed with `first` where that has the same resolution (section 3.3, stage 1 only)."""
    return x + first if first is not None and first.shape[2:] == x.shape[2:] else x


@torch.no_grad()
def settle(network: nn.Module, iterations: int = 3) -> None:
    """Let the vectors of a new network's spectral norms settle, so that it can be asked before it has been trained.

    They start at random, which divides each weight by next to nothing in evaluation mode.
    """
    for module in network.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                for _ in range(iterations):
                    hook.compute_weight(module, do_power_iteration=True)


def initialise_xavier(network: nn.Module, gain: float = 0.02) -> nn.Module:
    """Draw the weights as `init_weights` of the official code: xavier normal, biases zero; return the network."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_normal_(getattr(module, "weight_orig", module.weight), gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, _BatchNorm) and module.weight is not None:
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    return network
