"""What a layout of published data has to offer: labelled images, listed before any is decoded."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from kdx2i.config import DatasetConfig, SourceFile
from kdx2i.data.manifest import Role
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.foreign import require_plain


@dataclass(frozen=True, slots=True)
class Entry:
    """An image before it is read.

    `stem` is a name for its file, unique in its class up to letters that a file name cannot hold. `source`
    is its address in the source, unique in the dataset. Images of one `group` (empty: none) show the same
    thing and never straddle two roles. `role` is set where the source itself has a split, `fingerprint` (a hash of
    the pixels) where it states one.
    """

    label: str
    stem: str
    source: str
    group: str = ""
    role: Role | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """An image that has been read: its entry, the SHA-256 of its source bytes, its pixels (RGB).

    `encoded` is the image file to keep and `suffix` its ending, so that a photograph stays as published.
    `captions` and `label_map` (uint8 (H, W), the number of a label at each pixel) are there where the source has
    them.
    """

    entry: Entry
    source_sha256: str
    image: Image.Image
    encoded: bytes
    suffix: str
    captions: tuple[str, ...] = ()
    label_map: np.ndarray | None = None


class Reader(Protocol):
    """What a layout has to offer: a list of all images, and those asked for one at a time."""

    def entries(self) -> list[Entry]:
        """Return every image of the source without decoding any."""

    def items(self, sources: Collection[str]) -> Iterator[Item]:
        """Yield the images whose `source` is in `sources`, each decoded once, in the source's order."""


class Options(BaseModel):
    """The base of a reader's options: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def source_file(dataset: DatasetConfig, assets_root: Path, name: str) -> tuple[Path, SourceFile]:
    """Return the place and the description of one file of a dataset's source.

    Relative paths start at `assets_root`. A file that is not described or not there raises `UserError`.
    """
    source = dataset.source.files.get(name)
    if source is None:
        raise UserError(f"dataset {dataset.name}: its source needs the file `{name}` for {dataset.reader}")
    if source.path is None:
        raise UserError(f"dataset {dataset.name}: download {source.url} and state its place as `path`")
    path = assets_root / source.path
    if not path.is_dir() and require_plain(path) is None:
        origin = f": download it from {source.url}" if source.url else ""
        raise UserError(f"dataset {dataset.name}: {path} does not exist{origin}")
    return path, source


def verify_source(path: Path, source: SourceFile) -> None:
    """Compare the checksum of a source with the one that its description pins; without one nothing is read."""
    if source.sha256 is None:
        return
    if path.is_dir():
        raise UserError(f"{path} is a folder, which has no checksum: set its sha256 to null or give the archive")
    if sha256_file(path) != source.sha256:
        raise UserError(f"{path} is not the file that the dataset states: its SHA-256 differs")
