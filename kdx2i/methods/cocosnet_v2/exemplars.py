"""Where exemplars come from: the image itself, cropped anew, in training; a training image afterwards.

A label map without a reference still needs an exemplar image with its map. The image that belongs to the map would
give the answer away, so training images are kept with the weights (protocol entry cocosnet-exemplar).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Exemplars(nn.Module):
    """`count` training images with their maps, kept as uint8 beside the networks: [N, 3, R, R] and [N, R, R]."""

    def __init__(self, count: int, resolution: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(count, 3, resolution, resolution, dtype=torch.uint8))
        self.register_buffer("maps", torch.zeros(count, resolution, resolution, dtype=torch.uint8))

    def fill(self, images: Tensor, maps: Tensor) -> None:
        """Keep images uint8 [M, 3, R, R] with maps [M, R, R]: a random part of more than N, fewer again and again."""
        count = len(self.get_buffer("images"))
        index = torch.randperm(len(images))[torch.arange(count) % len(images)]
        self.get_buffer("images").copy_(images[index])
        self.get_buffer("maps").copy_(maps[index])

    def choose(self, maps: Tensor, how: str) -> tuple[Tensor, Tensor]:
        """Return exemplars [B, 3, R, R] in [-1, 1] and their maps uint8 [B, R, R] for maps uint8 [B, R, R].

        `how`: `random`, from torch's global generator, or `nearest`, the map that has most labels in the same place.
        """
        kept = self.get_buffer("maps")
        if how == "random":
            index = torch.randint(len(kept), (len(maps),)).to(kept.device)
        else:
            index = torch.stack([(kept == one).flatten(1).float().mean(1).argmax() for one in maps])
        images = self.get_buffer("images")[index].float() / 127.5 - 1
        return images, kept[index]


def one_hot(maps: Tensor, labels: int) -> Tensor:
    """Return label maps uint8 [B, R, R] as float32 [B, L, R, R]."""
    return F.one_hot(maps.long(), labels).permute(0, 3, 1, 2).float()


def random_crops(images: Tensor, maps: Tensor, draws: Tensor, enlargement: float) -> tuple[Tensor, Tensor]:
    """Enlarge images [B, 3, R, R] in [-1, 1] and maps uint8 [B, R, R], and cut pieces of R px out of them.

    `draws` [B, 2] in [0, 1) place the pieces. Images are enlarged bicubically, maps by nearest neighbours, as in
    `data/base_dataset.py` (load 550, crop 512).
    """
    size = images.shape[-1]
    larger = round(size * enlargement)
    if larger == size:
        return images, maps
    wide = F.interpolate(images, size=(larger, larger), mode="bicubic", antialias=True).clamp(-1, 1)
    wide_maps = F.interpolate(maps[:, None].float(), size=(larger, larger), mode="nearest-exact")[:, 0].to(maps.dtype)
    starts = (draws * (larger - size + 1)).long().tolist()
    places = [(slice(top, top + size), slice(left, left + size)) for top, left in starts]
    cut = [image[:, rows, columns] for image, (rows, columns) in zip(wide, places, strict=True)]
    cut_maps = [label_map[rows, columns] for label_map, (rows, columns) in zip(wide_maps, places, strict=True)]
    return torch.stack(cut), torch.stack(cut_maps)
