"""One's own conditions from files: images, captions, utterances and label maps, read one after another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

from kdx2i.config import ConditionKind, TaskName
from kdx2i.data.conditions.formats import (
    SUFFIXES,
    decode_captions,
    decode_label_map,
    decode_speech,
    read_bounded,
)
from kdx2i.errors import UserError
from kdx2i.metrics.images.listing import IMAGE_SUFFIXES, LeftOut, Listing, list_images
from kdx2i.metrics.images.streams import ImageFiles
from kdx2i.tasks.label_map import coloured

KINDS: dict[TaskName, ConditionKind] = {"text": "captions", "speech": "speech", "label-map": "label-maps"}
BLOCK = 16
"""Images that are decoded at a time."""


@dataclass(frozen=True)
class Given:
    """One input: the name of what is made of it, what it is, and how it is shown.

    `value` is an image uint8 [3, R, R], a caption, an utterance float32 (N,) in [-1, 1] or a label map uint8 [R, R];
    `picture` uint8 [3, R, R] stands beside the outputs in a grid.
    """

    name: str
    value: Tensor | str
    picture: Tensor | None = None


def listed_images(path: Path) -> Listing:
    """Return the listing of a folder, a zip archive or one image file; errors as in `list_images`."""
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return Listing(path.parent, [path.name], [], [0], LeftOut([]), "", {})
    return list_images(path)


def squares(listing: Listing, resolution: int) -> Iterator[Tensor]:
    """Yield the images of a listing as uint8 [3, R, R], resized as those of a split are; transparency is white."""
    for _, block in ImageFiles(listing).blocks(BLOCK):
        for image in block:
            yield _square(image, resolution)


def _square(image: Tensor, resolution: int) -> Tensor:
    if image.shape[1:] == (resolution, resolution):
        return image
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    resized = picture.resize((resolution, resolution), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def own_images(listing: Listing, resolution: int) -> Iterator[Given]:
    """Yield the images of a listing as inputs."""
    stems = [str(PurePosixPath(name).with_suffix("")).replace("/", "-") for name in listing.names]
    _check_names(listing.path, stems, listing.names)
    for stem, image in zip(stems, squares(listing, resolution), strict=True):
        yield Given(stem, image, image)


def condition_files(path: Path, task: TaskName) -> list[Path]:
    """Return the file itself, or the files of a folder with the suffix of the task's conditions, sorted.

    `UserError` for a path that holds none, and for two files that would be written under one name.
    """
    suffix = SUFFIXES[KINDS[task]]
    if not path.exists():
        raise UserError(f"{path} does not exist: name a {suffix} file, or a folder of them")
    files = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path]
    if not files or files[0].suffix != suffix:
        raise UserError(f"{path} holds no {suffix} file: the model draws from {KINDS[task].replace('-', ' ')}")
    return files


def own_conditions(path: Path, task: TaskName, resolution: int) -> Iterator[Given]:
    """Yield the captions (each line of a file), utterances or label maps of a file or folder as inputs.

    `UserError` names a file that is broken or too large.
    """
    for file in condition_files(path, task):
        data = read_bounded(file, KINDS[task])
        if task == "text":
            captions = decode_captions(data if data.endswith(b"\n") else data + b"\n", str(file))
            names = [file.stem] if len(captions) == 1 else [f"{file.stem}-{n}" for n in range(1, len(captions) + 1)]
            yield from (Given(name, caption) for name, caption in zip(names, captions, strict=True))
        elif task == "speech":
            samples = torch.from_numpy(decode_speech(data, str(file)))
            yield Given(file.stem, samples.float().div(32768.0))
        else:
            numbers = label_map(data, file, resolution)
            yield Given(file.stem, numbers, coloured(numbers[None])[0])


def label_map(data: bytes, file: Path, resolution: int) -> Tensor:
    """Return the label map of a PNG file's bytes, uint8 [R, R], resized by the label under each pixel's centre."""
    whole = torch.from_numpy(decode_label_map(data, str(file)))[None, None].float()
    sized = functional.interpolate(whole, size=(resolution, resolution), mode="nearest-exact")
    return sized[0, 0].to(torch.uint8)


def maps_by_name(path: Path, names: Sequence[str], resolution: int) -> list[Tensor]:
    """Return the label maps uint8 [R, R] of images, PNG files of the same stems; `UserError` names one that lacks."""
    files = {file.stem: file for file in condition_files(path, "label-map")}
    missing = [name for name in names if Path(name).stem not in files]
    if missing:
        raise UserError(f"{path} has no label map {Path(missing[0]).stem}.png of that reference")
    chosen = [files[Path(name).stem] for name in names]
    return [label_map(read_bounded(file, "label-maps"), file, resolution) for file in chosen]


def _check_names(path: Path, stems: list[str], names: list[str]) -> None:
    """Refuse two inputs whose outputs would have one name."""
    seen: dict[str, str] = {}
    for stem, name in zip(stems, names, strict=True):
        if seen.setdefault(stem, name) != name:
            raise UserError(f"{path} holds {seen[stem]} and {name}, whose outputs would have one name: rename one")
