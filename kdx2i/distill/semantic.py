"""What stage 1 gives a student of section 3.3 beside noise: pseudo-conditions and the teacher's first feature."""

import copy
import math
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.teacher.stylegan2 import Discriminator
from kdx2i.teacher.stylegan2.discriminator import DiscriminatorEpilogue
from kdx2i.teacher.stylegan2.layers import minibatch_stddev

Statistics = Literal["mean", "none", "batch"]
Scale = Literal["standardised", "unit", "raw"]


class SemanticEncoder(nn.Module):
    """S_E of section 3.3: the teacher's discriminator without its last linear layer, images [B, 3, R, R] -> [B, S].

    It starts as a copy of the teacher's. The discriminator appends the standard deviation over groups of the batch, by
    which the code of an image depends on its neighbours (`batch`); `none` puts in that of a group of one, `mean` the
    mean of it over `images` [N, 3, R, R] (protocol entry x2i-minibatch-statistics).
    """

    statistic: Tensor

    def __init__(self, discriminator: Discriminator, statistics: Statistics, images: Tensor) -> None:
        super().__init__()
        self.network = copy.deepcopy(discriminator)
        del self.network.b4.out
        self.statistics, self.width = statistics, discriminator.semantic_dim
        self.register_buffer("statistic", torch.full((self._end.num_channels,), math.sqrt(1e-8), device=images.device))
        if statistics == "mean" and self._end.num_channels > 0:
            with torch.no_grad():
                x = self.network.trunk(images)[0]
                appended = minibatch_stddev(x, self._end.group_size, self._end.num_channels)[:, x.shape[1] :]
                self.statistic.copy_(appended.mean(dim=(0, 2, 3)))

    @property
    def _end(self) -> DiscriminatorEpilogue:
        return self.network.b4

    @property
    def group(self) -> int | None:
        """The batch size of which a batch must be a multiple; None: any is good."""
        return self._end.group_size if self.statistics == "batch" and self._end.num_channels > 0 else None

    def forward(self, images: Tensor) -> Tensor:
        """Return the codes [B, S] of images [B, 3, R, R] in [-1, 1]."""
        x, running, _ = self.network.trunk(images)
        if self.statistics == "batch" or self._end.num_channels == 0:
            return self._end.semantic(x, running)
        if self._end.architecture == "skip":
            x = x + self._end.fromrgb(running)
        appended = self.statistic.to(x.dtype)[None, :, None, None].expand(len(x), -1, *x.shape[2:])
        return cast(Tensor, self._end.fc(self._end.conv(torch.cat([x, appended], dim=1)).flatten(1)))


class PseudoConditions(nn.Module):
    """Codes of S_E [B, S] -> pseudo-conditions c [B, C] of a student.

    First they are scaled, by `codes` [N, S] of the teacher's images: each component to mean 0 and standard deviation 1
    (`standardised`), all by one factor to a root mean square of 1 (`unit`), or not (`raw`; protocol entry
    x2i-condition-scale). Where the widths differ, a linear map follows, without a bias, which starts orthogonal and
    keeps the size of what it maps (protocol entry x2i-projection).
    """

    shift: Tensor
    factor: Tensor
    weight: Tensor | None

    def __init__(self, codes: Tensor, width: int, scale: Scale, *, trained: bool) -> None:
        super().__init__()
        shift, factor = torch.zeros_like(codes[0]), torch.ones_like(codes[0])
        if scale == "standardised":
            shift, size = codes.mean(dim=0), codes.std(dim=0)
            # A component that never moves says nothing; its rounding errors must not become a condition.
            factor = torch.where(size > 1e-4 * size.max(), 1 / size, torch.zeros_like(size))
        elif scale == "unit":
            factor = factor / codes.square().mean().sqrt()
        self.register_buffer("shift", shift)
        self.register_buffer("factor", factor)
        weight = None
        if codes.shape[1] != width:
            weight = nn.init.orthogonal_(torch.empty(width, codes.shape[1])).to(codes.device)
            weight = weight * max(1.0, math.sqrt(width / codes.shape[1]))
        if trained and weight is not None:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the pseudo-conditions [B, C] of codes [B, S]."""
        scaled = (codes - self.shift) * self.factor
        return scaled if self.weight is None else F.linear(scaled, self.weight)


class FirstFeature(nn.Module):
    """The teacher's first feature [B, C, r, r] -> what is summed with the student's own of that size.

    Where the widths differ a trained 1x1 convolution maps it. `teacher` and `student` [B, ., r, r] are features of one
    batch: with `scaled` a constant factor gives the first the standard deviation of the second, which else may swamp
    it (protocol entry x2i-first-scale).
    """

    factor: Tensor

    def __init__(self, teacher: Tensor, student: Tensor, *, scaled: bool) -> None:
        super().__init__()
        widths = (teacher.shape[1], student.shape[1])
        self.map = nn.Identity() if widths[0] == widths[1] else nn.Conv2d(*widths, 1, bias=False)
        self.map.to(teacher.device)
        with torch.no_grad():
            mapped = self.map(teacher)
        self.register_buffer("factor", student.std() / mapped.std() if scaled else torch.ones_like(student.std()))

    def forward(self, first: Tensor) -> Tensor:
        """Return the mapped and scaled feature [B, S, r, r] of a teacher's [B, C, r, r]."""
        return cast(Tensor, self.map(first) * self.factor)
