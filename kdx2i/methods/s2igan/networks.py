"""The generator of S2IGAN (G_NET of `models/model.py` of xinshengwang/S2IGAN at 8cca123), with its parameter names.

Images are [B, 3, r, r] in [-1, 1]. No convolution has a bias. A GLU takes the first half of the channels times the
sigmoid of the second half.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.methods.base import Features
from kdx2i.methods.s2igan.settings import Networks
from kdx2i.methods.shared_layers import spread

SMALLEST = 4


class GLU(nn.Module):
    """The gated linear unit over the channels: [B, 2 C, ...] -> [B, C, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        """Gate the first half by the second."""
        return F.glu(x, dim=1)


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution of stride 1 without bias."""
    return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)


def gated(inputs: int, outputs: int) -> list[nn.Module]:
    """Return convolution, batch norm and GLU."""
    return [conv3x3(inputs, 2 * outputs), nn.BatchNorm2d(2 * outputs), GLU()]


def up_block(inputs: int, outputs: int) -> nn.Sequential:
    """Return the block that doubles the size: nearest neighbour, then `gated`."""
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *gated(inputs, outputs))


class ResBlock(nn.Module):
    """Two convolutions beside the input: [B, C, r, r] -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(*gated(width, width), conv3x3(width, width), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Add."""
        return x + cast(Tensor, self.block(x))


class ConditionAugmentation(nn.Module):
    """The conditioning augmentation (CA_NET): a speech embedding becomes mean and log variance of the condition."""

    def __init__(self, speech_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(speech_dim, 4 * condition_dim)

    def forward(self, speech: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S] -> mu [B, C], logvar [B, C]."""
        mu, logvar = F.glu(self.fc(speech), dim=1).chunk(2, dim=1)
        return mu, logvar


class FirstStage(nn.Module):
    """INIT_STAGE_G: condition and noise to a map of `width` channels, `doublings` above 4 px."""

    def __init__(self, condition_dim: int, noise_dim: int, width: int, doublings: int) -> None:
        super().__init__()
        self.start = width << doublings
        units = self.start * SMALLEST * SMALLEST
        self.fc = nn.Sequential(
            nn.Linear(condition_dim + noise_dim, 2 * units, bias=False), nn.BatchNorm1d(2 * units), GLU()
        )
        self.names = [f"upsample{number}" for number in range(1, doublings + 1)]
        for number, name in enumerate(self.names):
            self.add_module(name, up_block(self.start >> number, self.start >> number + 1))

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return the map [B, 16 gf, 4, 4] of c [B, C] and z [B, Z], which `upsample1` ... enlarge."""
        code: Tensor = self.fc(torch.cat([condition, noise], 1))
        return code.view(-1, self.start, SMALLEST, SMALLEST)


class NextStage(nn.Module):
    """NEXT_STAGE_G: twice the size and half the channels; the last block sees the stage's input again."""

    def __init__(self, condition_dim: int, width: int, residual_blocks: int) -> None:
        super().__init__()
        self.jointConv = nn.Sequential(*gated(condition_dim + width, width))
        self.residual = nn.Sequential(*(ResBlock(width) for _ in range(residual_blocks)))
        self.upsample = up_block(2 * width, width // 2)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """[B, W, r, r] and c [B, C] -> [B, W / 2, 2 r, 2 r]."""
        joint = self.residual(self.jointConv(torch.cat([spread(condition, hidden), hidden], 1)))
        result: Tensor = self.upsample(torch.cat([joint, hidden], 1))
        return result


class ToImage(nn.Module):
    """GET_IMAGE_G: [B, W, r, r] -> an image [B, 3, r, r] in (-1, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.img = nn.Sequential(conv3x3(width, 3), nn.Tanh())

    def forward(self, hidden: Tensor) -> Tensor:
        """Draw."""
        return cast(Tensor, self.img(hidden))


@dataclass(frozen=True)
class Generated:
    """What the generator returns: an image of each stage, smallest first, the condition and features by resolution."""

    images: list[Tensor]
    mu: Tensor
    logvar: Tensor
    condition: Tensor
    features: Features


class Generator(nn.Module):
    """G_NET with `stages` images up to `resolution` px.

    The first stage ends at resolution / 2^(stages - 1), officially 64 px: four up-blocks above 4 px, and one in each
    of the two other stages, six in all (protocol entry s2igan-up-blocks).

    Stage 1 of the distillation enters in two places. `speech` may be any vector [B, speech_dim]: a pseudo-condition
    of section 3.3, mapped to that length, stands in the place of the speech embedding, and its mu is the
    discriminators' condition. `first`, the teacher's first feature, is summed with the output of the up-block that
    reaches its resolution (8 px in Appendix A.2: `h_net1.upsample1`). Without it the result is the official one.
    """

    def __init__(self, sizes: Networks, resolution: int) -> None:
        super().__init__()
        doublings = doublings_of(resolution, sizes.stages)
        self.stages, self.noise_dim, self.condition_dim = sizes.stages, sizes.noise_dim, sizes.condition_dim
        if sizes.gf_dim < 2 ** (sizes.stages - 1):
            raise UserError(f"gf_dim ({sizes.gf_dim}) cannot be halved in each of {sizes.stages - 1} further stages")
        self.ca_net = ConditionAugmentation(sizes.speech_dim, sizes.condition_dim)
        self.h_net1 = FirstStage(sizes.condition_dim, sizes.noise_dim, sizes.gf_dim, doublings)
        self.img_net1 = ToImage(sizes.gf_dim)
        for stage in range(2, sizes.stages + 1):
            width = sizes.gf_dim >> stage - 2
            self.add_module(f"h_net{stage}", NextStage(sizes.condition_dim, width, sizes.residual_blocks))
            self.add_module(f"img_net{stage}", ToImage(width // 2))

    def forward(self, noise: Tensor, speech: Tensor, eps: Tensor, first: Tensor | None = None) -> Generated:
        """Draw images of noise z [B, Z], speech embeddings or pseudo-conditions [B, S] and eps [B, C], c = mu + sd eps.

        `first` is a feature [B, C, r, r] of the teacher. `ValueError` where the generator has none of its size.
        """
        mu, logvar = self.ca_net(speech)
        condition = mu + eps * torch.exp(0.5 * logvar)
        images, features = self.render(noise, condition, first)
        return Generated(images, mu, logvar, condition, features)

    def render(self, noise: Tensor, condition: Tensor, first: Tensor | None = None) -> tuple[list[Tensor], Features]:
        """Draw the images of noise z [B, Z] and conditions c [B, C], smallest first, and the features by resolution."""
        hidden = self.h_net1(condition, noise)
        features: Features = {}
        images = []

        def reached(feature: Tensor) -> Tensor:
            if first is not None and feature.shape[2:] == first.shape[2:]:
                if feature.shape != first.shape:
                    raise ValueError(f"a first feature {tuple(first.shape)} is no {tuple(feature.shape)}")
                feature = feature + first
            features[feature.shape[-1]] = feature
            return feature

        for name in self.h_net1.names:
            hidden = reached(getattr(self.h_net1, name)(hidden))
        images.append(self.img_net1(hidden))
        for stage in range(2, self.stages + 1):
            hidden = reached(getattr(self, f"h_net{stage}")(hidden, condition))
            images.append(getattr(self, f"img_net{stage}")(hidden))
        if first is not None and first.shape[-1] not in features:
            raise ValueError(f"the generator has no feature of {first.shape[-1]} px")
        return images, features


def doublings_of(resolution: int, stages: int) -> int:
    """Return the up-blocks of the first stage; `UserError` for a resolution without at least one."""
    base = resolution >> stages - 1
    if resolution < 2 or resolution & resolution - 1 or base < 2 * SMALLEST:
        least = 2 * SMALLEST << stages - 1
        raise UserError(
            f"s2igan with {stages} stages draws images of {least}, {2 * least}, ... px, not of {resolution} px"
        )
    return base.bit_length() - SMALLEST.bit_length()


def initialise(network: nn.Module) -> None:
    """Give a network the official start: orthogonal convolutions and linear layers, norms N(1, 0.02) (`weights_init`).

    Biases of linear layers and norms are zero.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(module.weight)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
