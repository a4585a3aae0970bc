"""Layers of SEAN's generator (`models/networks/normalization.py` and `architecture.py` of ZPdesu/SEAN)."""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PARAMETER_FREE: dict[str, type[nn.Module]] = {
    "instance": nn.InstanceNorm2d,
    "batch": nn.BatchNorm2d,
    "syncbatch": nn.BatchNorm2d,
}


class Layout:
    """A label map [B, K, H, W], at each of the sizes that layers ask for (nearest).

    The map is one-hot, or any map: a region is where a channel is not zero, and of regions that overlap the last one
    counts, as the official loop overwrites (so c = 1 leaves the last region alone).
    """

    def __init__(self, segmap: Tensor) -> None:
        self.segmap = segmap
        self._sizes: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def at(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the map [B, K, h, w] at a size in pixels, and its regions as one-hot or no-hot [B, K, h, w]."""
        size = (height, width)
        if size not in self._sizes:
            resized = F.interpolate(self.segmap, size=size, mode="nearest")
            numbers = torch.arange(1, resized.shape[1] + 1, device=resized.device)[:, None, None]
            last = (resized.bool() * numbers).amax(1, keepdim=True)
            self._sizes[size] = resized, (last == numbers).to(resized.dtype)
        return self._sizes[size]


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight is divided by u'Wv, with one power iteration in every forward pass of training.

    Names and rule of `torch.nn.utils.spectral_norm`; unlike that, copies of it can be made at any time.
    """

    weight_orig: nn.Parameter
    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)
        weight = self._parameters.pop("weight")
        assert weight is not None
        self.register_parameter("weight_orig", nn.Parameter(weight.detach()))
        self.register_buffer("weight_u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(inputs * kernel**2), dim=0))

    @torch.no_grad()
    def settle(self) -> None:
        """Take the v that u gives, as training does first of all: until then u'Wv is near zero, and images explode."""
        self.weight_v.copy_(F.normalize(self.weight_orig.flatten(1).T @ self.weight_u, dim=0, eps=1e-12))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the base class
        """[B, C, H, W] -> [B, C', H', W']."""
        with torch.autocast(input.device.type, enabled=False):
            matrix = self.weight_orig.flatten(1)
            if self.training:
                with torch.no_grad():
                    self.weight_v.copy_(F.normalize(matrix.T @ self.weight_u, dim=0, eps=1e-12))
                    self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0, eps=1e-12))
            # Clones, since a second pass before the gradients changes the buffers in place.
            sigma = self.weight_u.clone() @ (matrix @ self.weight_v.clone())
        result: Tensor = self._conv_forward(input, self.weight_orig / sigma, self.bias)
        return result


class MapBranch(nn.Module):
    """`SPADE` of SEAN: scale and shift from the map alone; its own normalisation is never applied, but is saved.

    `config` is as `spadesyncbatch3x3`: the kind of that normalisation, and the kernels.
    """

    def __init__(self, config: str, channels: int, labels: int, hidden: int = 128) -> None:
        super().__init__()
        parsed = re.fullmatch(r"spade(\D+)(\d)x\d", config)
        if parsed is None or parsed[1] not in PARAMETER_FREE:
            raise ValueError(f"{config} names no normalisation of SPADE")
        kernel = int(parsed[2])
        self.param_free_norm = PARAMETER_FREE[parsed[1]](channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(labels, hidden, kernel, padding=kernel // 2), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, kernel, padding=kernel // 2)
        self.mlp_beta = nn.Conv2d(hidden, channels, kernel, padding=kernel // 2)

    def forward(self, segmap: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift [B, C, h, w] of a map [B, K, h, w]."""
        hidden = self.mlp_shared(segmap)
        return self.mlp_gamma(hidden), self.mlp_beta(hidden)


class RegionAdaptiveNorm(nn.Module):
    """`ACE`: noise, batch normalisation, then scale and shift blended from the map and the styles of its regions.

    Without `styled` only the map counts. `style_layers` linear layers of `style_length` numbers, one a label.
    """

    def __init__(
        self,
        channels: int,
        labels: int,
        config: str = "spadesyncbatch3x3",
        *,
        styled: bool = True,
        style_length: int = 512,
        style_layers: int = 19,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        if labels > style_layers and styled:
            raise ValueError(f"{labels} labels, but styles for {style_layers} of them")
        self.Spade = MapBranch(config, channels, labels, hidden)
        self.styled = styled
        self.blending_gamma = nn.Parameter(torch.zeros(1))
        self.blending_beta = nn.Parameter(torch.zeros(1))
        self.noise_var = nn.Parameter(torch.zeros(channels))
        self.param_free_norm = nn.BatchNorm2d(channels, affine=False)
        if styled:
            for label in range(style_layers):
                self.add_module(f"fc_mu{label}", nn.Linear(style_length, style_length))
            self.conv_gamma = nn.Conv2d(style_length, channels, 3, padding=1)
            self.conv_beta = nn.Conv2d(style_length, channels, 3, padding=1)

    def forward(self, x: Tensor, layout: Layout, codes: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Normalise x [B, C, H, W] by a layout and codes [B, K, S]; `noise` [B, W, H, 1] is drawn where it is None."""
        if noise is None:
            noise = torch.randn(x.shape[0], x.shape[3], x.shape[2], 1).to(x.device)
        # One map for all channels; the official layout has width and height swapped.
        normalised = self.param_free_norm(x + noise.transpose(1, 3) * self.noise_var[:, None, None])
        segmap, regions = layout.at(x.shape[2], x.shape[3])
        gamma, beta = self.Spade(segmap)
        if self.styled:
            if codes is None:
                raise ValueError("this normalisation needs the style codes of the regions")
            a, b = torch.sigmoid(self.blending_gamma), torch.sigmoid(self.blending_beta)
            of_styles = self.styles(regions, codes)
            gamma, beta = a * of_styles[0] + (1 - a) * gamma, b * of_styles[1] + (1 - b) * beta
        result: Tensor = normalised * (1 + gamma) + beta
        return result

    @torch.no_grad()
    def replicate_styles(self, source: int) -> None:
        """Give every label the linear layer of the label `source`."""
        layers = {name: module for name, module in self.named_children() if name.startswith("fc_mu")}
        for layer in layers.values():
            layer.load_state_dict(layers[f"fc_mu{source}"].state_dict())

    def styles(self, regions: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift [B, C, h, w] of the codes [B, K, S] laid out over regions [B, K, h, w].

        The official code convolves the S-channel map that has each region's code in its pixels. The map has at most K
        different pixels, so where it has more of them than that their kernels are summed first: the same numbers.
        """
        layers = [getattr(self, f"fc_mu{label}") for label in range(codes.shape[1])]
        means = F.relu(torch.stack([layer(codes[:, label]) for label, layer in enumerate(layers)], 1))
        weight = torch.cat([self.conv_gamma.weight, self.conv_beta.weight])
        bias = torch.cat([self.conv_gamma.bias, self.conv_beta.bias])  # type: ignore[list-item]
        batch, labels, height, width = regions.shape
        regions = regions.to(means.dtype)
        if height * width <= labels:
            scattered = torch.einsum("bkhw,bks->bshw", regions, means)
            both = F.conv2d(scattered, weight, bias, padding=1)
        else:
            kernels = torch.einsum("osyx,bks->bokyx", weight, means).flatten(0, 1)
            stacked = regions.reshape(1, batch * labels, height, width)
            both = F.conv2d(stacked, kernels.contiguous(), None, padding=1, groups=batch)
            both = both.reshape(batch, -1, height, width) + bias[:, None, None]
        gamma, beta = both.chunk(2, 1)
        return gamma, beta


class SeanBlock(nn.Module):
    """`SPADEResnetBlock` of SEAN: a residual block with three region-adaptive normalisations.

    The shortcut is learned where the widths differ; it has a normalisation, but no activation and no bias. `config` is
    the official `norm_G`: with `spectral` before it the convolutions are spectrally normalised.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        labels: int,
        config: str = "spectralspadesyncbatch3x3",
        *,
        styled: bool = True,
        style_length: int = 512,
        style_layers: int = 19,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        kind = config.replace("spectral", "")

        def convolution(a: int, b: int, kernel: int, bias: bool = True) -> nn.Conv2d:
            if "spectral" in config:
                return SpectralConv2d(a, b, kernel, padding=kernel // 2, bias=bias)
            return nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=bias)

        def normalisation(channels: int) -> RegionAdaptiveNorm:
            return RegionAdaptiveNorm(
                channels,
                labels,
                kind,
                styled=styled,
                style_length=style_length,
                style_layers=style_layers,
                hidden=hidden,
            )

        self.learned_shortcut = inputs != outputs
        self.conv_0 = convolution(inputs, middle, 3)
        self.conv_1 = convolution(middle, outputs, 3)
        self.ace_0 = normalisation(inputs)
        self.ace_1 = normalisation(middle)
        if self.learned_shortcut:
            self.conv_s = convolution(inputs, outputs, 1, bias=False)
            self.ace_s = normalisation(inputs)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the normalisations after `ACE_`, in the order in which they draw noise."""
        return ("s", "0", "1") if self.learned_shortcut else ("0", "1")

    def forward(self, x: Tensor, layout: Layout, codes: Tensor, noise: dict[str, Tensor] | None = None) -> Tensor:
        """[B, C, H, W] -> [B, C', H, W]; codes [B, K, S], `noise` [B, W, H, 1] by part, drawn where it is None."""
        given = noise or {}
        shortcut = x
        if self.learned_shortcut:
            shortcut = self.conv_s(self.ace_s(x, layout, codes, given.get("s")))
        h = self.conv_0(F.leaky_relu(self.ace_0(x, layout, codes, given.get("0")), 0.2))
        h = self.conv_1(F.leaky_relu(self.ace_1(h, layout, codes, given.get("1")), 0.2))
        result: Tensor = shortcut + h
        return result
