"""Names and numbers of face parts: two tools number, and paint, the same nineteen parts differently."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kdx2i.errors import UserError

# CelebAMask-HQ's tools (face_parsing/Data_preprocessing/g_mask.py) and SEAN.
CELEBAMASK_HQ = (
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip",
    "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
# zllrunning/face-parsing.PyTorch (prepropess_data.py): what its BiSeNet predicts.
FACE_PARSING = (
    "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose", "mouth",
    "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
)  # fmt: skip
# Flips in face-parsing.PyTorch's training do not swap sides, so its parser cannot tell these apart.
LEFT_RIGHT = {"r_brow": "l_brow", "r_eye": "l_eye", "r_ear": "l_ear"}


def relabelled(labels: Tensor, source: Sequence[str], target: Sequence[str]) -> Tensor:
    """Return label maps (N, H, W), numbered like `source`, in the numbers of `target`: int64 (N, H, W).

    `UserError` unless both name the same classes, and for labels outside `source`.
    """
    if sorted(source) != sorted(target):
        strange = sorted(set(source) ^ set(target)) or sorted(source)
        raise UserError(f"the label maps and the segmenter do not have the same classes: {', '.join(strange)}")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < len(source):
        raise UserError(
            f"label maps must hold 0 .. {len(source) - 1}, found {int(labels.min())} .. {int(labels.max())}"
        )
    return torch.tensor([list(target).index(name) for name in source])[labels.long()]


def paint(masks: Mapping[str, Tensor], order: Sequence[str]) -> Tensor:
    """Return the label map int64 (H, W) of part masks bool (H, W), painted in `order`: later parts cover earlier.

    Overlaps come out differently in the two orders, so a relabelled CelebAMask-HQ map is not the map that
    face-parsing.PyTorch was trained on (hair, glasses, neck and necklace).
    """
    painted = torch.zeros(next(iter(masks.values())).shape, dtype=torch.int64)
    for number, name in enumerate(order):
        if name in masks:
            painted[masks[name]] = number
    return painted
