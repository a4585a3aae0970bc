"""Networks of the adapted baselines (Appendix B.3): StarGAN v2's form, made from a StyleGAN2 teacher.

"we preserve the subnets of the discriminator of the pretrained StyleGAN as image encoder which has 16x16x512
output, then additionally add 4 ResBlks like StarGANv2, and finally use the subnets of the generator [...] as the
decoder"; the mapping network is kept, the discriminator becomes the style encoder and, with one output branch a
class, the discriminator. Images are [B, 3, R, R] in [-1, 1]; labels y are int64 [B].
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn

from kdx2i.methods.families.stargan.blocks import AdaIN, AdainResBlk, ResBlk, he_init
from kdx2i.methods.families.stylegan.networks import NoiseMode, State, pick
from kdx2i.teacher.stylegan2 import (
    Discriminator,
    DiscriminatorBlock,
    DiscriminatorConfig,
    GeneratorConfig,
    MappingNetwork,
    SynthesisBlock,
    ToRGB,
    channel_widths,
    resolutions,
)
from kdx2i.teacher.stylegan2.layers import EqualizedLinear


class ImageEncoder(nn.Module):
    """The teacher discriminator's blocks down to `bottleneck` px: image -> [B, C, bottleneck, bottleneck]."""

    def __init__(self, config: DiscriminatorConfig, bottleneck: int) -> None:
        super().__init__()
        widths = channel_widths(config)
        self.names = []
        before = 0
        for r in [r for r in reversed(resolutions(config.img_resolution)) if r > bottleneck]:
            self.add_module(f"b{r}", DiscriminatorBlock(before, widths[r], widths[r // 2], config, r))
            self.names.append(f"b{r}")
            before = widths[r // 2]

    def forward(self, image: Tensor) -> Tensor:
        """Encode."""
        x: Tensor | None = None
        for name in self.names:
            block = cast(DiscriminatorBlock, getattr(self, name))
            entered, _ = block.enter(x, image)
            x = block(entered)
        return cast(Tensor, x)


class Blocks(nn.Module):
    """The four new residual blocks between encoder and decoder; those with AdaIN take the style."""

    def __init__(self, width: int, style_dim: int, kind: Literal["stargan_v2", "adain"]) -> None:
        super().__init__()
        plain = 2 if kind == "stargan_v2" else 0
        self.plain = nn.ModuleList([ResBlk(width, width, normalize=True) for _ in range(plain)])
        self.styled = nn.ModuleList([AdainResBlk(width, width, style_dim) for _ in range(4 - plain)])
        he_init(self)
        # Random scales from the styles would make noise of what the decoder reads (protocol entry adapted-training).
        for module in self.modules():
            if isinstance(module, AdaIN):
                nn.init.zeros_(module.fc.weight)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [B, C, h, h], w [B, w_dim] -> [B, C, h, h]."""
        for block in self.plain:
            x = block(x)
        for block in self.styled:
            x = block(x, w)
        return x


class Decoder(nn.Module):
    """The teacher generator's part above the bottleneck, with the bottleneck's ToRGB that starts the image."""

    def __init__(self, config: GeneratorConfig, bottleneck: int, noise: NoiseMode) -> None:
        super().__init__()
        widths = channel_widths(config)
        self.noise: NoiseMode = noise
        self.names = []
        before = widths[bottleneck]
        self.torgb = ToRGB(before, config)
        for r in [r for r in resolutions(config.img_resolution) if r > bottleneck]:
            self.add_module(f"b{r}", SynthesisBlock(before, widths[r], r, config))
            self.names.append(f"b{r}")
            before = widths[r]

    def teacher_part(self, state: State, bottleneck: int) -> dict[str, Tensor]:
        """Return this network's state from that of a teacher's generator."""
        place = {"torgb": f"synthesis.b{bottleneck}.torgb"}
        named = {}
        for name in self.state_dict():
            head, _, tail = name.partition(".")
            named[name] = state[f"{place.get(head, f'synthesis.{head}')}.{tail}"]
        return named

    def first_image(self, x: Tensor, w: Tensor) -> Tensor:
        """x [B, C, h, h], w [B, w_dim] -> the image [B, 3, h, h] that the layers above add to."""
        image: Tensor = self.torgb(x, w)
        return image

    def forward(self, x: Tensor, w: Tensor, image: Tensor | None = None) -> Tensor:
        """x [B, C, h, h], w [B, w_dim] -> [B, 3, R, R]; `image` [B, 3, h, h] replaces what ToRGB makes of x."""
        if image is None:
            image = self.first_image(x, w)
        ws = w[:, None].expand(-1, 3, -1)
        for name in self.names:
            x, image = getattr(self, name)(x, image, ws, self.noise)
        return cast(Tensor, image)


class Beginning(nn.Module):
    """The teacher generator's part up to the bottleneck: style -> feature and image there.

    Followed by the decoder it is the whole generator, the auxiliary GAN of TransferI2I*.
    """

    def __init__(self, config: GeneratorConfig, bottleneck: int, noise: NoiseMode) -> None:
        super().__init__()
        widths = channel_widths(config)
        self.noise: NoiseMode = noise
        self.names = []
        before = 0
        for r in [r for r in resolutions(config.img_resolution) if r <= bottleneck]:
            self.add_module(f"b{r}", SynthesisBlock(before, widths[r], r, config))
            self.names.append(f"b{r}")
            before = widths[r]

    def forward(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """w [B, w_dim] -> feature [B, C, h, h] and image [B, 3, h, h]."""
        x: Tensor | None = None
        image: Tensor | None = None
        ws = w[:, None].expand(-1, 3, -1)
        for name in self.names:
            x, image = getattr(self, name)(x, image, ws, self.noise)
        return cast(Tensor, x), cast(Tensor, image)


class MappingNetworks(nn.Module):
    """One copy of the teacher's mapping network for each class: z [B, z_dim], y -> w [B, w_dim]."""

    def __init__(self, config: GeneratorConfig, num_classes: int) -> None:
        super().__init__()
        self.classes = nn.ModuleList(
            MappingNetwork(
                z_dim=config.z_dim,
                c_dim=0,
                w_dim=config.w_dim,
                num_layers=config.num_layers,
                lr_multiplier=config.lr_multiplier,
                w_avg_beta=None,
            )
            for _ in range(num_classes)
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map with the network of each sample's class."""
        return pick(torch.stack([mapping(z) for mapping in self.classes], dim=1), y)


class BranchedDiscriminator(nn.Module):
    """The teacher's discriminator with one logit a class: image, y -> [B]."""

    def __init__(self, config: DiscriminatorConfig, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.trunk = Discriminator(config)
        self.trunk.b4.out = EqualizedLinear(self.trunk.semantic_dim, num_classes)

    def take_over(self, discriminator: State) -> None:
        """Copy a teacher's discriminator, its last layer into every branch."""
        copied = dict(discriminator)
        for name in ("b4.out.weight", "b4.out.bias"):
            copied[name] = discriminator[name].repeat_interleave(self.num_classes, dim=0)
        self.trunk.load_state_dict(copied)

    def forward(self, image: Tensor, y: Tensor) -> Tensor:
        """Return the logit of each image in its class y."""
        return pick(self.trunk.examine(image)[0], y)
