"""Label maps of generated images: a folder of PNG files whose pixels are class numbers."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from kdx2i.data.decode import MAX_PIXELS
from kdx2i.errors import UserError


def label_maps(folder: Path, names: Sequence[str]) -> Tensor:
    """Return the label map of each generated image, uint8 (N, h, w).

    `a/b_3.png` has the map `a/b_3.png`, or that of its source, `a/b.png`; without a sub-folder of that name the
    map may lie directly in `folder`. Grey levels and palette indices are class numbers. `UserError` for a missing
    folder or map, a file that holds colours, and maps of different sizes.
    """
    if not folder.is_dir():
        raise UserError(f"--labels {folder} is no folder: it must hold a PNG of class numbers for each image")
    read: dict[Path, Tensor] = {}
    maps = []
    for name in names:
        path = _place(folder, PurePosixPath(name))
        if path not in read:
            read[path] = _read(path)
        maps.append(read[path])
        if maps[-1].shape != maps[0].shape:
            raise UserError(
                f"{path} is {tuple(maps[-1].shape)} pixels, the label maps before it {tuple(maps[0].shape)}"
            )
    return torch.stack(maps)


def _place(folder: Path, name: PurePosixPath) -> Path:
    """Return the file of an image's label map."""
    source = re.sub(r"_\d+$", "", name.stem)
    parents = (name.parent, PurePosixPath())
    candidates = [folder / parent / f"{stem}.png" for parent in parents for stem in (name.stem, source)]
    place = next((path for path in candidates if path.is_file()), None)
    if place is None:
        raise UserError(f"{folder} has no label map for {name}: it needs {name.stem}.png or {source}.png")
    return place


def _read(path: Path) -> Tensor:
    """Return one label map, uint8 (h, w)."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{path} has more than {MAX_PIXELS} pixels: refused before decoding")
            if image.mode not in ("L", "P", "1"):
                raise UserError(f"{path} holds colours ({image.mode}), not class numbers")
            return torch.from_numpy(np.array(image, dtype=np.uint8))
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a PNG that can be read") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is a truncated or broken PNG: {error}") from None
