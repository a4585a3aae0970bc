"""Pairs of label maps and pictures that are drawn from them: each label has a colour."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.tasks.paired import PairedImages

CPU = torch.device("cpu")
LABELS = ("ground", "leaf", "stem", "petal")


def maps(count: int, side: int, labels: int = len(LABELS), seed: int = 3) -> Tensor:
    """Return maps of 4 x 4 blocks of random labels, uint8 [count, side, side]."""
    blocks = torch.randint(0, labels, (count, 4, 4), generator=torch.Generator().manual_seed(seed))
    return blocks.repeat_interleave(side // 4, 1).repeat_interleave(side // 4, 2).to(torch.uint8)


def pictures(label_maps: Tensor) -> Tensor:
    """Return the maps in colours, uint8 [count, 3, side, side]."""
    colours = torch.randint(0, 256, (256, 3), generator=torch.Generator().manual_seed(8)).to(torch.uint8)
    return colours[label_maps.long()].permute(0, 3, 1, 2).contiguous()


def paired(count: int, side: int, labels: tuple[str, ...] = LABELS) -> PairedImages[LabelMapCondition]:
    """Return training pairs; the task behind them has what drawing needs."""
    label_maps = maps(count, side, len(labels))
    task = SimpleNamespace(
        is_test=torch.zeros(count, dtype=torch.bool),
        images=pictures(label_maps),
        labels=torch.zeros(count, dtype=torch.int64),
        given=lambda index, draws, references, device: LabelMapCondition(label_maps[index], labels, references),
    )
    return PairedImages(task, CPU)  # type: ignore[arg-type]


class Pyramid(nn.Module):
    """Stands for a network of perceptual losses: the image at three resolutions."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, nn.functional.avg_pool2d(x, 2), nn.functional.avg_pool2d(x, 4)]
