"""Generator and encoder of SPADE (`models/networks/{generator,encoder}.py` of NVlabs/SPADE), with official names.

The discriminator is that of `kdx2i.methods.families.label_maps.discriminator`.
"""

from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.methods.families.label_maps.blocks import (
    HIDDEN,
    SLOPE,
    SpatialNormKind,
    SpatialResBlock,
    add_first,
    normalised,
)
from kdx2i.methods.families.label_maps.maps import spread_condition

Depth = Literal["normal", "more", "most"]
DOUBLINGS: Final[dict[Depth, int]] = {"normal": 5, "more": 6, "most": 7}
CODE, ENCODER_SIDE = 256, 256
"""Length of the encoder's codes and side of its input, which the official code fixes."""


class Generator(nn.Module):
    """`SPADEGenerator`: residual blocks that a map modulates, each at twice the resolution of the one before.

    The first feature is a convolution of the map, or, with `use_vae`, a linear function of a code. Without that it has
    no noise at all.
    """

    def __init__(
        self,
        ngf: int,
        semantic_nc: int,
        crop_size: int,
        aspect_ratio: float = 1.0,
        num_upsampling_layers: Depth = "normal",
        use_vae: bool = False,
        z_dim: int = CODE,
        norm_G: str = "spectralspadesyncbatch3x3",
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        width = crop_size // 2 ** DOUBLINGS[num_upsampling_layers]
        if width < 1:
            raise ValueError(f"{crop_size} px cannot be halved {DOUBLINGS[num_upsampling_layers]} times")
        self.side = (round(width / aspect_ratio), width)
        self.crop = (round(crop_size / aspect_ratio), crop_size)
        self.depth, self.use_vae, self.z_dim = num_upsampling_layers, use_vae, z_dim
        kind, last = SpatialNormKind.parse(norm_G), ngf

        def block(fin: int, fout: int) -> SpatialResBlock:
            return SpatialResBlock(fin, fout, semantic_nc, kind, hidden=hidden)

        self.fc: nn.Module
        if use_vae:
            self.fc = nn.Linear(z_dim, 16 * ngf * self.side[0] * self.side[1])
        else:
            self.fc = nn.Conv2d(semantic_nc, 16 * ngf, 3, padding=1)
        self.head_0 = block(16 * ngf, 16 * ngf)
        self.G_middle_0 = block(16 * ngf, 16 * ngf)
        self.G_middle_1 = block(16 * ngf, 16 * ngf)
        self.up_0, self.up_1 = block(16 * ngf, 8 * ngf), block(8 * ngf, 4 * ngf)
        self.up_2, self.up_3 = block(4 * ngf, 2 * ngf), block(2 * ngf, ngf)
        if num_upsampling_layers == "most":
            last = ngf // 2
            self.up_4 = block(ngf, last)
        self.conv_img = nn.Conv2d(last, 3, 3, padding=1)

    def stages(self) -> list[list[SpatialResBlock]]:
        """Return the blocks by resolution, smallest first; between two stages a feature is doubled."""
        middle = [[self.G_middle_0, self.G_middle_1]]
        if self.depth != "normal":
            middle = [[self.G_middle_0], [self.G_middle_1]]
        ups = [self.up_0, self.up_1, self.up_2, self.up_3]
        ups += [self.up_4] if self.depth == "most" else []
        return [[self.head_0], *middle, *([block] for block in ups)]

    def synthesise(
        self, segmentation: Tensor, z: Tensor | None = None, first: Tensor | None = None
    ) -> tuple[Tensor, Features]:
        """Return the image [B, 3, H, W] in [-1, 1] and the feature of each resolution that the next layers get.

        `segmentation` is the one-hot map [B, N, H, W], or in stage 1 a pseudo-condition [B, N], which is the same at
        each pixel. `z` [B, Z] is the code where there is an encoder (drawn where it is None). `first` [B, C, r, r], in
        stage 1 alone, is summed with the output of the last block at r px.
        """
        segmentation = spread_condition(segmentation, self.crop)
        if self.use_vae:
            z = torch.randn(len(segmentation), self.z_dim, device=segmentation.device) if z is None else z
            x = self.fc(z).reshape(len(z), -1, *self.side)
        else:
            x = self.fc(F.interpolate(segmentation, size=self.side, mode="nearest"))
        features: Features = {}
        for number, blocks in enumerate(self.stages()):
            x = F.interpolate(x, scale_factor=2, mode="nearest") if number else x
            for block in blocks:
                x = block(x, segmentation)
            x = add_first(x, first)
            features[x.shape[-1]] = x
        return torch.tanh(self.conv_img(F.leaky_relu(x, SLOPE))), features

    def forward(self, segmentation: Tensor, z: Tensor | None = None) -> Tensor:
        """Return the image [B, 3, H, W] of a map [B, N, H, W]: see `synthesise`."""
        return self.synthesise(segmentation, z)[0]


class Encoder(nn.Module):
    """`ConvEncoder`: an image to mean and log-variance of its code; `crop_size` is 256 or more."""

    def __init__(self, ngf: int, crop_size: int = ENCODER_SIDE, norm_E: str = "spectralinstance") -> None:
        super().__init__()
        if crop_size < ENCODER_SIDE:
            raise ValueError(f"the encoder is made for {ENCODER_SIDE} px and more, not for {crop_size}")
        widths = [3, ngf, 2 * ngf, 4 * ngf, 8 * ngf, 8 * ngf, 8 * ngf]
        for number in range(1, 7):
            convolution = nn.Conv2d(widths[number - 1], widths[number], 3, 2, 1)
            self.add_module(f"layer{number}", normalised(convolution, norm_E))
        self.fc_mu, self.fc_var = (nn.Linear(8 * ngf * 4 * 4, CODE) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance [B, 256] of images [B, 3, H, W] in [-1, 1], which are resized to 256 px."""
        side = (ENCODER_SIDE, ENCODER_SIDE)
        if x.shape[2:] != side:
            x = F.interpolate(x, size=side, mode="bilinear", align_corners=False)
        for number in range(1, 7):
            x = self.get_submodule(f"layer{number}")(x if number == 1 else F.leaky_relu(x, SLOPE))
        flat = F.leaky_relu(x, SLOPE).flatten(1)
        return self.fc_mu(flat), self.fc_var(flat)
