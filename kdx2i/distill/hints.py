"""Hint layers (section 3.2, after Romero et al. 2015): they match the widths of student and teacher features."""

from typing import Literal

from torch import nn

from kdx2i.errors import UserError
from kdx2i.methods.base import Features

Direction = Literal["student-to-teacher", "teacher-to-student"]


class HintLayers(nn.Module):
    """A 1x1 convolution for each shared resolution at which teacher and student differ in width.

    The paper maps the teacher's output; a trained map of that kind has the trivial solution T = S = 0, so that the
    default is FitNets' regressor on the student (protocol entry i2i-hints). `teacher` and `student` [B, C, r, r] show
    the widths. Raises `UserError` if no resolution is shared.
    """

    def __init__(self, teacher: Features, student: Features, direction: Direction) -> None:
        super().__init__()
        self.direction = direction
        self.shared = sorted(set(teacher) & set(student))
        if not self.shared:
            raise UserError(
                f"the teacher has features at {sorted(teacher)} px and the student at {sorted(student)} px: "
                "they share no resolution, so there is nothing to distil"
            )
        self.maps = nn.ModuleDict()
        for r in self.shared:
            student_width, teacher_width = student[r].shape[1], teacher[r].shape[1]
            if student_width != teacher_width:
                widths = (student_width, teacher_width)
                channels = widths if direction == "student-to-teacher" else widths[::-1]
                self.maps[str(r)] = nn.Conv2d(*channels, kernel_size=1)

    def forward(self, teacher: Features, student: Features) -> tuple[Features, Features]:
        """Return both sides' features [B, C, r, r] at the shared resolutions, of one width at each."""
        teacher, student = ({r: features[r] for r in self.shared} for features in (teacher, student))
        mapped = student if self.direction == "student-to-teacher" else teacher
        for r, layer in self.maps.items():
            mapped[int(r)] = layer(mapped[int(r)])
        return teacher, student
