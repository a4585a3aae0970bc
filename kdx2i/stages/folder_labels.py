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
from kdx2i.metrics.images.listing import normal

# Pillow stretches samples of few bits to 8; what each one was multiplied by.
_STRETCHED = {"L;2": 85, "L;4": 17}
_MOST = 255
Colour = tuple[int, ...]


def label_maps(folder: Path, names: Sequence[str]) -> Tensor:
    """Return the label map of each generated image, uint8 (N, h, w).

    `a/b_3.png` has the map `a/b_3.png`, or that of its source, `a/b.png`; without a sub-folder of that name the
    map may lie directly in `folder`. Raw grey samples of 1 to 16 bits and palette indices are class numbers.
    `UserError` for a missing folder or map, a file that holds colours or a number above 255, maps of different sizes,
    and palettes that do not say which number a colour has: greys other than their index, or another order in each file.
    """
    if not folder.is_dir():
        raise UserError(f"--labels {folder} is no folder: it must hold a PNG of class numbers for each image")
    places = _places(folder)
    read: dict[Path, Tensor] = {}
    colours: dict[int, tuple[Colour, Path]] = {}
    maps = []
    for name in names:
        path = _place(folder, places, PurePosixPath(normal(name)))
        if path not in read:
            numbers, palette = _read(path)
            _compare_palettes(path, palette, colours)
            read[path] = torch.from_numpy(numbers)
        maps.append(read[path])
        if maps[-1].shape != maps[0].shape:
            raise UserError(
                f"{path} is {tuple(maps[-1].shape)} pixels, the label maps before it {tuple(maps[0].shape)}"
            )
    return torch.stack(maps)


def _places(folder: Path) -> dict[str, Path]:
    """Return the PNG files of a folder and of its sub-folders by their normal names without the ending."""
    files = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.suffix.lower() == ".png"]
    return {normal(path.relative_to(folder).with_suffix("").as_posix()): path for path in files if path.is_file()}


def _place(folder: Path, places: dict[str, Path], name: PurePosixPath) -> Path:
    """Return the file of an image's label map."""
    source = re.sub(r"_\d+$", "", name.stem)
    candidates = [str(parent / stem) for parent in (name.parent, PurePosixPath()) for stem in (name.stem, source)]
    place = next((places[candidate] for candidate in candidates if candidate in places), None)
    if place is None:
        raise UserError(f"{folder} has no label map for {name}: it needs {name.stem}.png or {source}.png")
    return place


def _read(path: Path) -> tuple[np.ndarray, dict[int, Colour]]:
    """Return one label map, uint8 (h, w), and the colours of the indices that it uses."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{path} has more than {MAX_PIXELS} pixels: refused before decoding")
            if image.mode not in ("L", "P", "1", "I;16"):
                raise UserError(f"{path} holds colours ({image.mode}), not class numbers")
            kept = str(image.tile[0].args) if image.tile else image.mode
            palette = bytes(image.palette.getdata()[1]) if image.mode == "P" and image.palette else b""
            numbers = np.array(image).astype(np.uint16)
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a PNG that can be read") from None
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is a truncated or broken PNG: {error}") from None
    numbers = numbers // _STRETCHED.get(kept, 1)
    if numbers.max(initial=0) > _MOST:
        raise UserError(f"{path} holds the number {numbers.max()}, and class numbers end at {_MOST}")
    return numbers.astype(np.uint8), _colours(path, palette, numbers)


def _colours(path: Path, palette: bytes, numbers: np.ndarray) -> dict[int, Colour]:
    """Return the colours of the indices in use, none without a palette or where each index is its own grey.

    What makes a PNG smaller may keep the class numbers as greys of a palette, in any order: the index is then not the
    class. Nor is it known to be the grey, since tools that show classes as shades keep the class as the index.
    """
    entries = [tuple(palette[start : start + 3]) for start in range(0, len(palette), 3)]
    used = {int(index): entries[index] for index in np.unique(numbers) if index < len(entries)}
    if all(colour == (index,) * 3 for index, colour in used.items()):
        return {}
    if all(len(set(colour)) == 1 for colour in entries):
        index, colour = next((index, colour) for index, colour in used.items() if colour != (index,) * 3)
        raise UserError(
            f"{path} has a palette of greys that are not their indices (index {index} has grey {colour[0]}), which "
            "does not say which of the two is the class: save it as 8-bit grey"
        )
    return used


def _compare_palettes(path: Path, palette: dict[int, Colour], known: dict[int, tuple[Colour, Path]]) -> None:
    """Refuse a palette in which an index has another colour than in a file before: it is no class number then."""
    for index, colour in palette.items():
        before, other = known.setdefault(index, (colour, path))
        if before != colour:
            raise UserError(
                f"{path} has the colour {colour} at index {index} of its palette and {other.name} has {before}, so "
                "that indices are no class numbers: save the label maps as 8-bit grey"
            )
