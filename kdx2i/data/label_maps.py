"""Label maps of a dataset's images, by reader: which part of the picture each pixel belongs to."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from kdx2i.config import DatasetConfig
from kdx2i.data.readers import source_file
from kdx2i.data.rows import Row
from kdx2i.errors import UserError
from kdx2i.files import sha256_file

# The labels of face_parts_128.npz, in their numbering (see docs/open-emoji.md).
FACE_PARTS = ("background", "face", "eye", "brow", "mouth", "blush", "tears", "accessory")


def _open_emoji(dataset: DatasetConfig, assets_root: Path, sources: Sequence[str]) -> np.ndarray:
    """Return the maps uint8 (N, 128, 128) of drawings from the checked file `face_parts` of the source."""
    path, source = source_file(dataset, assets_root, "face_parts")
    if sha256_file(path) != source.sha256:
        raise UserError(f"{path} is not the file that dataset {dataset.name} states: its SHA-256 differs")
    with np.load(path, allow_pickle=False) as stored:
        place = {str(key): number for number, key in enumerate(stored["keys"])}
        lacking = [name for name in sources if name not in place]
        if lacking:
            raise UserError(f"{path} has no label map of {lacking[0]} ({len(lacking)} such images)")
        maps: np.ndarray = stored["labels"][[place[name] for name in sources]]
    return maps


_READERS: dict[str, tuple[str, tuple[str, ...], Callable[[DatasetConfig, Path, Sequence[str]], np.ndarray]]] = {
    "open-emoji": ("face_parts", FACE_PARTS, _open_emoji),
}


def label_classes(dataset: DatasetConfig) -> tuple[str, ...]:
    """Return the names of a dataset's labels in their numbering; `UserError` for one without label maps."""
    file, classes, _ = _READERS.get(dataset.reader, ("", (), None))
    if file not in dataset.source.files:
        raise UserError(f"dataset {dataset.name} has no label maps")
    return classes


def load_label_maps(dataset: DatasetConfig, assets_root: Path, rows: Sequence[Row], size: int) -> Tensor:
    """Return the label maps uint8 (N, size, size) of some rows of a dataset's split, in their order.

    Maps are resized by the label under each pixel's centre. Relative paths of the source start at `assets_root`.
    `UserError` for a dataset without label maps, and for a map that is missing.
    """
    label_classes(dataset)
    maps = _READERS[dataset.reader][2](dataset, assets_root, [row.source for row in rows])
    resized = functional.interpolate(torch.from_numpy(maps)[:, None].float(), size=(size, size), mode="nearest-exact")
    return resized[:, 0].to(torch.uint8)
