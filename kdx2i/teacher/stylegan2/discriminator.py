"""The discriminator of StyleGAN2, with its features by resolution."""

import math
from typing import cast

from torch import Tensor, nn

from kdx2i.teacher.layers import (
    EqualizedConv2d,
    EqualizedLinear,
    filter2d,
    fir_kernel,
    minibatch_stddev,
)
from kdx2i.teacher.stylegan2.generator import MappingNetwork
from kdx2i.teacher.stylegan2.sizes import (
    DiscriminatorConfig,
    channel_widths,
    resolutions,
)


class DiscriminatorBlock(nn.Module):
    """Two convolutions that halve the resolution, with a residual (`resnet`) or an image skip (`skip`)."""

    resample_filter: Tensor

    def __init__(
        self, in_channels: int, width: int, out_channels: int, config: DiscriminatorConfig, resolution: int
    ) -> None:
        super().__init__()
        self.architecture = config.architecture
        self.register_buffer("resample_filter", fir_kernel())
        clamp = config.conv_clamp
        if resolution == config.img_resolution or self.architecture == "skip":
            self.fromrgb = EqualizedConv2d(config.img_channels, width, 1, activation="lrelu", conv_clamp=clamp)
        self.conv0 = EqualizedConv2d(width, width, 3, activation="lrelu", conv_clamp=clamp)
        self.conv1 = EqualizedConv2d(width, out_channels, 3, activation="lrelu", down=True, conv_clamp=clamp)
        if self.architecture == "resnet":
            self.skip = EqualizedConv2d(width, out_channels, 1, bias=False, down=True)
        self.has_rgb = hasattr(self, "fromrgb")

    def enter(self, x: Tensor | None, image: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Add from-RGB's output to [B, C, r, r] where there is one; return it and, for `skip`, the halved image."""
        if not self.has_rgb:
            return cast(Tensor, x), image
        rgb = self.fromrgb(image)
        if image is not None and self.architecture == "skip":
            image = filter2d(image, self.resample_filter, pad=(1, 1), stride=2)
        else:
            image = None
        return rgb if x is None else x + rgb, image

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, r, r] -> the feature [B, C', r / 2, r / 2]."""
        if self.architecture == "resnet":
            short = self.skip(x, gain=math.sqrt(0.5))
            return cast(Tensor, short + self.conv1(self.conv0(x), gain=math.sqrt(0.5)))
        return cast(Tensor, self.conv1(self.conv0(x)))


class DiscriminatorEpilogue(nn.Module):
    """Minibatch standard deviation, 3x3 convolution, two linear layers at 4x4."""

    def __init__(self, in_channels: int, cmap_dim: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.architecture, self.cmap_dim = config.architecture, cmap_dim
        self.group_size, self.num_channels = config.mbstd_group_size, config.mbstd_num_channels
        if self.architecture == "skip":
            self.fromrgb = EqualizedConv2d(config.img_channels, in_channels, 1, activation="lrelu")
        self.conv = EqualizedConv2d(
            in_channels + self.num_channels, in_channels, 3, activation="lrelu", conv_clamp=config.conv_clamp
        )
        self.fc = EqualizedLinear(in_channels * 16, in_channels, activation="lrelu")
        self.out = EqualizedLinear(in_channels, 1 if cmap_dim == 0 else cmap_dim)

    def semantic(self, x: Tensor, image: Tensor | None) -> Tensor:
        """Return the vector before the last linear layer, [B, C] (the semantic encoder of section 3.3)."""
        if self.architecture == "skip":
            x = x + self.fromrgb(image)
        if self.num_channels > 0:
            x = minibatch_stddev(x, self.group_size, self.num_channels)
        return cast(Tensor, self.fc(self.conv(x).flatten(1)))

    def forward(self, x: Tensor, image: Tensor | None, cmap: Tensor | None) -> Tensor:
        """Return the logits [B, 1]."""
        y = self.out(self.semantic(x, image))
        if cmap is None:
            return cast(Tensor, y)
        return cast(Tensor, (y * cmap).sum(dim=1, keepdim=True) * (1.0 / math.sqrt(self.cmap_dim)))


class Discriminator(nn.Module):
    """Image [B, C, R, R] in [-1, 1] -> logits [B, 1], with the feature of every block."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.block_resolutions = resolutions(config.img_resolution)[:0:-1]
        widths = channel_widths(config)
        before = 0
        for r in self.block_resolutions:
            self.add_module(f"b{r}", DiscriminatorBlock(before, widths[r], widths[r // 2], config, r))
            before = widths[r // 2]
        cmap_dim = 0 if config.c_dim == 0 else (config.cmap_dim if config.cmap_dim is not None else widths[4])
        self.b4 = DiscriminatorEpilogue(widths[4], cmap_dim, config)
        self.semantic_dim = widths[4]
        if config.c_dim > 0:
            self.mapping = MappingNetwork(
                z_dim=0,
                c_dim=config.c_dim,
                w_dim=cmap_dim,
                num_layers=config.mapping_layers,
                lr_multiplier=config.mapping_lr_multiplier,
                w_avg_beta=None,
            )

    def trunk(self, image: Tensor) -> tuple[Tensor, Tensor | None, dict[int, Tensor]]:
        """Return the 4x4 feature, the image skip, and the features by their own resolution.

        The feature of the image resolution is from-RGB's output; those of R/2 ... 4 are the outputs of the
        blocks, "D_T(x)_l" of eq. (1).
        """
        x: Tensor | None = None
        running: Tensor | None = image
        features: dict[int, Tensor] = {}
        for r in self.block_resolutions:
            block = cast(DiscriminatorBlock, getattr(self, f"b{r}"))
            entered, running = block.enter(x, running)
            if x is None:
                features[r] = entered
            x = block(entered)
            features[r // 2] = x
        return cast(Tensor, x), running, features

    def features(self, image: Tensor) -> dict[int, Tensor]:
        """Return the features by their own resolution, those of `trunk`."""
        return self.trunk(image)[2]

    def examine(self, image: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the logits [B, 1] and the features by their own resolution."""
        x, running, features = self.trunk(image)
        return self.b4(x, running, None), features

    def semantic(self, image: Tensor) -> Tensor:
        """Return the pseudo-condition of section 3.3: the network without its last linear layer, [B, C]."""
        x, running, _ = self.trunk(image)
        return self.b4.semantic(x, running)

    def forward(self, image: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the logits [B, 1]."""
        x, running, _ = self.trunk(image)
        cmap = self.mapping(None, c) if self.config.c_dim > 0 else None
        return cast(Tensor, self.b4(x, running, cmap))
