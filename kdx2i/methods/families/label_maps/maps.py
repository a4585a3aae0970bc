"""Label maps as networks take them: one-hot, or a stand-in for that; and training pairs changed alike."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.errors import UserError

UNKNOWN = 255
"""The value of a pixel without a label."""
Unknown = Literal["none", "last", "first"]


def one_hot_maps(maps: Tensor, label_nc: int, unknown: Unknown = "none") -> Tensor:
    """Return label maps uint8 [B, H, W] as one-hot float32 [B, N, H, W].

    The official rules for pixels that are 255: `last` gives them the channel after the labels, N = label_nc + 1
    (`models/pix2pix_model.py` of NVlabs/SPADE, `contain_dontcare_label`); `first` gives them channel 0 and moves the
    labels up by one (the loaders of boschresearch/OASIS); with `none` there are none, N = label_nc. `UserError` for
    any other value that is no label.
    """
    values = maps.long()
    known = (values < label_nc) | ((values == UNKNOWN) & (unknown != "none"))
    if not bool(known.all()):
        raise UserError(
            f"a label map has the value {int(values[~known].max())}, and the settings say `label_nc: {label_nc}`"
            + ("; set `dont_care` where 255 marks pixels without a label" if unknown == "none" else "")
        )
    missing = values == UNKNOWN
    if unknown == "first":
        values = torch.where(missing, 0, values + 1)
    elif unknown == "last":
        values = torch.where(missing, label_nc, values)
    channels = label_nc + (unknown != "none")
    shape = (len(maps), channels, *maps.shape[1:])
    return torch.zeros(shape, device=maps.device).scatter_(1, values[:, None], 1.0)


def spread_condition(condition: Tensor, side: tuple[int, int]) -> Tensor:
    """Return maps [B, N, H, W] as they are, and a pseudo-condition [B, N] as maps of that height and width.

    Section 3.3 of the paper: in stage 1 the condition of a label-map model is 1 in the generator and 0 in the
    discriminator, so [B, N] of ones or zeros.
    """
    if condition.ndim == 2:
        return condition[:, :, None, None].expand(-1, -1, *side)
    return condition


def mirrored(images: Tensor, maps: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror those images [B, 3, H, W] with their maps [B, H, W] that are chosen, bool [B].

    Left and right labels keep their names, as in `data/base_dataset.py` of NVlabs/SPADE.
    """
    images = torch.where(chosen[:, None, None, None], images.flip(-1), images)
    return images, torch.where(chosen[:, None, None], maps.flip(-1), maps)


def cropped(images: Tensor, maps: Tensor, scale: float, places: Tensor) -> tuple[Tensor, Tensor]:
    """Enlarge images [B, 3, H, W] in [-1, 1] with their maps [B, H, W] by `scale`, and cut H x W out of each.

    `places` [B, 2] in [0, 1) say where (down, right). Images are enlarged bicubically, maps by the nearest pixel, as
    in `data/base_dataset.py` of NVlabs/SPADE, which starts from larger files: here the images have the training size.
    """
    sides = [round(side * scale) for side in maps.shape[1:]]
    rooms = torch.tensor([large - side + 1 for large, side in zip(sides, maps.shape[1:], strict=True)])
    if int(rooms.max()) == 1:
        return images, maps
    large = F.interpolate(images, sides, mode="bicubic", align_corners=False).clamp(-1, 1)
    labels = F.interpolate(maps[:, None].float(), sides, mode="nearest-exact")[:, 0].to(maps.dtype)
    height, width = maps.shape[1:]
    starts = (places.cpu() * rooms).long().tolist()
    cuts = [(slice(y, y + height), slice(x, x + width)) for y, x in starts]
    parts = [(large[i, :, down, right], labels[i, down, right]) for i, (down, right) in enumerate(cuts)]
    return torch.stack([image for image, _ in parts]), torch.stack([part for _, part in parts])
