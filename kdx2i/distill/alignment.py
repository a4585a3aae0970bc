"""Alignment of student features with teacher features, with hint layers where the channels differ."""

from typing import Literal

import torch
from torch import Tensor, nn

from kdx2i.distill.losses import Norm, l1
from kdx2i.errors import UserError
from kdx2i.methods.base import Features
from kdx2i.teacher.stylegan2 import Discriminator

Direction = Literal["student-to-teacher", "teacher-to-student"]


class Alignment(nn.Module):
    """sum_l |T_l - S_l|_1 over the resolutions that teacher and student share.

    Where the channels differ a 1x1 convolution maps one side to the other's width. The paper maps the
    teacher's output; a trained map of that kind has the trivial solution T = S = 0, so that the default is
    FitNets' regressor on the student (protocol entry `i2i.hints`). Raises `UserError` if no resolution is
    shared.
    """

    def __init__(self, teacher: Features, student: Features, direction: Direction, norm: Norm) -> None:
        super().__init__()
        self.direction, self.norm = direction, norm
        self.shared = sorted(set(teacher) & set(student))
        if not self.shared:
            raise UserError(
                f"the teacher has features at {sorted(teacher)} px and the student at {sorted(student)} px: "
                "they share no resolution, so there is nothing to distil"
            )
        self.maps = nn.ModuleDict()
        for r in self.shared:
            source, target = student[r].shape[1], teacher[r].shape[1]
            if source != target:
                channels = (source, target) if direction == "student-to-teacher" else (target, source)
                self.maps[str(r)] = nn.Conv2d(*channels, kernel_size=1)

    def forward(self, teacher: Features, student: Features) -> Tensor:
        """Return the sum of the distances, unweighted."""
        total = torch.zeros([], device=student[self.shared[0]].device)
        for r in self.shared:
            ours, theirs = student[r], teacher[r]
            if str(r) in self.maps:
                if self.direction == "student-to-teacher":
                    ours = self.maps[str(r)](ours)
                else:
                    theirs = self.maps[str(r)](theirs)
            total = total + l1(ours, theirs, self.norm)
        return total


@torch.no_grad()
def teacher_features(discriminator: Discriminator, images: Tensor) -> Features:
    """Return D_T(x)_l: from-RGB's output at the image's resolution and the output of every ResBlock."""
    _, _, features = discriminator.trunk(images)
    return features
