"""SEAN's style encoder and generator (`models/networks/` of ZPdesu/SEAN), with the keys of its checkpoints."""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.methods.base import Features
from kdx2i.methods.sean.blocks import Layout, RegionAdaptiveNorm, SeanBlock, SpectralConv2d

HALVINGS = {"normal": 5, "more": 6, "most": 7}


class StyleEncoder(nn.Module):
    """`Zencoder`: a map of features at half the size of an image, averaged over each region of the label map."""

    def __init__(self, input_nc: int = 3, output_nc: int = 512, ngf: int = 32, n_downsampling: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(1), nn.Conv2d(input_nc, ngf, 3)]
        width = ngf
        for _ in range(n_downsampling):
            layers += [nn.InstanceNorm2d(width), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 3, 2, 1)]
            width *= 2
        up = nn.ConvTranspose2d(width, 2 * width, 3, 2, 1, output_padding=1)
        layers += [nn.InstanceNorm2d(width), nn.LeakyReLU(0.2), up, nn.InstanceNorm2d(2 * width), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(1), nn.Conv2d(2 * width, output_nc, 3), nn.Tanh())

    def forward(self, images: Tensor, segmap: Tensor) -> Tensor:
        """Return codes [B, K, S] of images [B, 3, H, W] by their maps [B, K, H, W].

        The code of a label is zero where no pixel of the map, resized to (H/2, W/2) by nearest, has it.
        """
        return self.encode(images, segmap)[0]

    def encode(self, images: Tensor, segmap: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes [B, K, S], and whether each label has a pixel at that size, bool [B, K]."""
        features: Tensor = self.model(images)
        codes, counts = pooled(features, segmap)
        return codes, counts > 0


def pooled(features: Tensor, segmap: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means [B, K, S] of features [B, S, h, w] over regions of a map [B, K, H, W], and their pixels [B, K].

    The means of regions without pixels are zero.
    """
    regions = F.interpolate(segmap, size=features.shape[2:], mode="nearest").bool().to(features.dtype)
    counts = regions.sum((2, 3))
    sums = torch.einsum("bkhw,bshw->bks", regions, features)
    return sums / counts.clamp(min=1)[..., None], counts


class Generator(nn.Module):
    """`SPADEGenerator` of SEAN: from a label map and the style codes of its regions to an image.

    The keywords are those of the official options. `style_length`, `style_layers`, `encoder_width` and `hidden` are
    fixed there at their defaults. `first_feature` says which output at the lowest resolution `first` is added to.
    """

    def __init__(
        self,
        ngf: int = 64,
        semantic_nc: int = 19,
        crop_size: int = 256,
        aspect_ratio: float = 1.0,
        num_upsampling_layers: str = "normal",
        norm_G: str = "spectralspadesyncbatch3x3",
        *,
        style_length: int = 512,
        style_layers: int = 19,
        encoder_width: int = 32,
        hidden: int = 128,
        first_feature: Literal["fc", "head_0"] = "head_0",
    ) -> None:
        super().__init__()
        self.width = crop_size // 2 ** HALVINGS[num_upsampling_layers]
        self.height = round(self.width / aspect_ratio)
        if not self.width or not self.height:
            raise ValueError(f"{crop_size} px cannot be halved {HALVINGS[num_upsampling_layers]} times")
        self.upsampling, self.first_feature = num_upsampling_layers, first_feature
        self.Zencoder = StyleEncoder(3, style_length, encoder_width)
        self.fc = nn.Conv2d(semantic_nc, 16 * ngf, 3, padding=1)

        def block(inputs: int, outputs: int, *, styled: bool = True) -> SeanBlock:
            return SeanBlock(
                inputs,
                outputs,
                semantic_nc,
                norm_G,
                styled=styled,
                style_length=style_length,
                style_layers=style_layers,
                hidden=hidden,
            )

        self.head_0 = block(16 * ngf, 16 * ngf)
        self.G_middle_0 = block(16 * ngf, 16 * ngf)
        self.G_middle_1 = block(16 * ngf, 16 * ngf)
        self.up_0 = block(16 * ngf, 8 * ngf)
        self.up_1 = block(8 * ngf, 4 * ngf)
        self.up_2 = block(4 * ngf, 2 * ngf)
        self.up_3 = block(2 * ngf, ngf, styled=False)
        last = ngf
        if num_upsampling_layers == "most":
            # The official code makes this block and leaves out its call, which its last convolution then refuses.
            self.up_4 = block(ngf, ngf // 2)
            last = ngf // 2
        self.conv_img = nn.Conv2d(last, 3, 3, padding=1)

    def blocks(self) -> Iterator[tuple[str, SeanBlock, int]]:
        """Yield name, block and the factor by which its input is enlarged first."""
        middle = 1 if self.upsampling == "normal" else 2
        factors = {"head_0": 1, "G_middle_0": 2, "G_middle_1": middle, "up_0": 2, "up_1": 2, "up_2": 2, "up_3": 2}
        if self.upsampling == "most":
            factors["up_4"] = 2
        for name, factor in factors.items():
            yield name, getattr(self, name), factor

    def replicate_styles(self) -> None:
        """Give every label the linear layers of the last one, the only ones that a map of ones uses."""
        last = self.fc.in_channels - 1
        for module in self.modules():
            if isinstance(module, RegionAdaptiveNorm) and module.styled:
                module.replicate_styles(last)

    def noise_sizes(self) -> dict[str, tuple[int, int]]:
        """Return (width, height) of the noise of every normalisation, by its official name, in the order of drawing."""
        sizes: dict[str, tuple[int, int]] = {}
        width, height = self.width, self.height
        for name, block, factor in self.blocks():
            width, height = width * factor, height * factor
            sizes |= {f"{name}_ACE_{part}": (width, height) for part in block.parts}
        return sizes

    def noise_from(self, values: Tensor) -> dict[str, Tensor]:
        """Return values [B, Z] as the noise of every normalisation, [B, w, h, 1] by its official name."""
        sizes = self.noise_sizes()
        parts = torch.split(values, [width * height for width, height in sizes.values()], dim=1)
        return {name: part.reshape(-1, *size, 1) for (name, size), part in zip(sizes.items(), parts, strict=True)}

    @property
    def noise_dim(self) -> int:
        """How many values the noise of one image has, Z."""
        return sum(width * height for width, height in self.noise_sizes().values())

    def forward(
        self,
        segmap: Tensor,
        codes: Tensor,
        *,
        first: Tensor | None = None,
        noise: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return images [B, 3, H, W] in [-1, 1]: see `with_features`."""
        return self.with_features(segmap, codes, first=first, noise=noise)[0]

    def with_features(
        self,
        segmap: Tensor,
        codes: Tensor,
        *,
        first: Tensor | None = None,
        noise: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Features]:
        """Return images [B, 3, H, W] in [-1, 1] and features {r: [B, C, r, r]}: what is enlarged next, at each width r.

        `segmap` [B, K, H, W] is one-hot, or stands for that in stage 1 (`kdx2i.methods.sean.student`); `codes`
        [B, K, S]; `noise` as `noise_from` returns it, drawn anew where it is None. `first` [B, C, r, r], the teacher's
        first feature (section 3.3), is summed with the feature of its resolution, before it is returned. At the lowest
        resolution that is the output of `fc` or of `head_0`, as `first_feature` says. `UserError` where no feature has
        the shape of `first`.
        """
        layout, features = Layout(segmap), {}
        x = self.fc(layout.at(self.height, self.width)[0])
        if self.first_feature == "fc":
            x, first = _summed(x, first)
            features[x.shape[-1]] = x
        blocks = list(self.blocks())
        enlarged = [factor > 1 for _, _, factor in blocks[1:]] + [True]
        for (name, block, factor), last in zip(blocks, enlarged, strict=True):
            if factor > 1:
                x = F.interpolate(x, scale_factor=factor, mode="nearest")
            own = None if noise is None else {part: noise[f"{name}_ACE_{part}"] for part in block.parts}
            x = block(x, layout, codes, own)
            if last and x.shape[-1] not in features:
                x, first = _summed(x, first)
                features[x.shape[-1]] = x
        if first is not None:
            raise UserError(
                f"the teacher's first feature has {first.shape[-1]} px, and the generator has features at "
                f"{', '.join(map(str, features))} px only"
            )
        return torch.tanh(self.conv_img(F.leaky_relu(x, 0.2))), features


def _summed(x: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return x [B, C, h, w] plus `first` and None where their resolutions agree, else both as they are."""
    if first is None or first.shape[2:] != x.shape[2:]:
        return x, first
    if first.shape[1] != x.shape[1]:
        raise UserError(
            f"the teacher's first feature has {first.shape[1]} channels, the generator's {x.shape[1]}: project it first"
        )
    return x + first, None


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Draw weights as the official code: Xavier with gain 0.02 for convolutions and linear layers, biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = module.weight_orig if isinstance(module, SpectralConv2d) else module.weight
            nn.init.xavier_normal_(weight, gain=0.02)
            if isinstance(module, SpectralConv2d):
                module.settle()
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def one_hot(maps: Tensor, labels: int) -> Tensor:
    """Return label maps uint8 [B, H, W] as float32 [B, K, H, W] with K `labels`."""
    numbers = torch.arange(labels, device=maps.device)[:, None, None]
    return (maps[:, None] == numbers).float()
