"""SEAN's multi-scale discriminator (`models/networks/discriminator.py` of ZPdesu/SEAN, after SPADE's)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.sean.blocks import SpectralConv2d

Judgements = list[list[Tensor]]
"""By scale, full size first: the features of all layers, then the logits [B, 1, h, w]."""


def _layer(norm: str, inputs: int, outputs: int) -> nn.Module:
    """Return a convolution 4x4 of stride 2, normalised; `norm` is `spectral` and what follows it."""
    kinds = {"none": None, "": None, "instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
    kinds["sync_batch"] = nn.BatchNorm2d
    kind = norm.removeprefix("spectral")
    if not norm.startswith("spectral") or kind not in kinds:
        raise ValueError(f"{norm} is no normalisation of the discriminator")
    further = kinds[kind]
    convolution = SpectralConv2d(inputs, outputs, 4, 2, 2, bias=further is None)
    if further is None:
        return convolution
    return nn.Sequential(convolution, further(outputs, affine="batch" in kind))


class PatchDiscriminator(nn.Module):
    """`NLayerDiscriminator`: unlike SPADE's, every normalised layer has stride 2."""

    def __init__(self, inputs: int, ndf: int = 64, n_layers: int = 3, norm: str = "spectralinstance") -> None:
        super().__init__()
        self.groups = n_layers + 1
        self.model0 = nn.Sequential(nn.Conv2d(inputs, ndf, 4, 2, 2), nn.LeakyReLU(0.2))
        width = ndf
        for number in range(1, n_layers):
            wider = min(2 * width, 512)
            self.add_module(f"model{number}", nn.Sequential(_layer(norm, width, wider), nn.LeakyReLU(0.2)))
            width = wider
        self.add_module(f"model{n_layers}", nn.Sequential(nn.Conv2d(width, 1, 4, 1, 2)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, K + 3, H, W] -> the outputs [B, C, h, w] of all layers, the logits [B, 1, h, w] last."""
        outputs = [x]
        for number in range(self.groups):
            outputs.append(getattr(self, f"model{number}")(outputs[-1]))
        return outputs[1:]


class Discriminator(nn.Module):
    """`MultiscaleDiscriminator`: patch discriminators of an image beside its map, each at half the size of the last.

    `labels` counts the channels of the map.
    """

    def __init__(
        self, labels: int = 19, ndf: int = 64, num_D: int = 2, n_layers_D: int = 3, norm_D: str = "spectralinstance"
    ) -> None:
        super().__init__()
        self.scales = num_D
        for scale in range(num_D):
            self.add_module(f"discriminator_{scale}", PatchDiscriminator(labels + 3, ndf, n_layers_D, norm_D))

    def forward(self, x: Tensor) -> Judgements:
        """Return the judgements of images beside their maps, [B, K + 3, H, W], the map first.

        In stage 1 the map is that of a pseudo-condition (`kdx2i.methods.sean.student`), zeros where c is constant.
        """
        results = []
        for scale in range(self.scales):
            if scale:
                x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
            results.append(getattr(self, f"discriminator_{scale}")(x))
        return results

    def judge_pair(self, segmap: Tensor, fake: Tensor, real: Tensor) -> tuple[Judgements, Judgements]:
        """Judge fakes and real images [B, 3, H, W] of the same maps [B, K, H, W] in one batch, as `discriminate`."""
        both = torch.cat([torch.cat([segmap, image], 1) for image in (fake, real)])
        return halves(self(both))


def halves(judgements: Sequence[Sequence[Tensor]]) -> tuple[Judgements, Judgements]:
    """Return the judgements of the first and of the second half of a joint batch [2 B, ...]."""
    middle = len(judgements[0][0]) // 2
    first = [[output[:middle] for output in scale] for scale in judgements]
    return first, [[output[middle:] for output in scale] for scale in judgements]
