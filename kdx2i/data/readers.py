"""Readers: from a dataset's source to labelled images. A new layout is one class and one line here."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Protocol

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from kdx2i import bounds
from kdx2i.config import DatasetConfig, SourceFile, validate
from kdx2i.data.archive import read_members
from kdx2i.data.decode import decode_rgb, png_bytes
from kdx2i.data.image_kinds import SUFFIXES
from kdx2i.data.manifest import ManifestRow, Role, read_manifest
from kdx2i.data.pack import read_icons, read_verified
from kdx2i.data.svg import MAX_SIDE, Icon, rasterise
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.foreign import refusing, require_plain


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


class OpenEmojiOptions(Options):
    """Which part of the open emoji data a dataset is.

    `tiers`: `core` are the classes with seven or more permissively licensed drawings, `wide` the others.
    `share_alike` adds the CC BY-SA sets to the training images; the test images stay the same.
    `also` joins further stand-ins, classes of one name together. `without_tests_of` leaves out every test drawing
    of these stand-ins, all that looks like one (their near-duplicate groups, equal pixels), and the test images of
    the dataset itself: training images that no evaluation on these stand-ins has seen.
    `size` in pixels; `background` is #rrggbb.
    """

    standin: str
    also: tuple[str, ...] = ()
    without_tests_of: tuple[str, ...] = ()
    tiers: tuple[str, ...] = Field(default=("core",), min_length=1)
    share_alike: bool = False
    size: int = Field(default=64, ge=8, le=MAX_SIDE)
    background: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")] = "#ffffff"


class _TestDrawings:
    """The test drawings of some stand-ins and all that looks like one of them."""

    def __init__(self, rows: Collection[ManifestRow], standins: Collection[str]) -> None:
        tests = {row.source for row in rows if row.role == "test" and row.standin in standins}
        # A drawing may be a test image in one stand-in and have its look-alikes listed in another one.
        groups = {row.group for row in rows if row.source in tests and row.standin in standins and row.group}
        self._sources = tests | {row.source for row in rows if row.group in groups}
        self._pixels = {row.raster64_md5 for row in rows if row.source in tests}

    def __contains__(self, row: ManifestRow) -> bool:
        return row.source in self._sources or row.raster64_md5 in self._pixels


class OpenEmoji:
    """Reader `open-emoji`: drawings of the embedded pack, chosen and split by its manifest."""

    def __init__(self, dataset: DatasetConfig, assets_root: Path) -> None:
        self._options = validate(OpenEmojiOptions, dataset.options, f"dataset {dataset.name}, options")
        self._file = partial(source_file, dataset, assets_root)
        self._has_label_maps = "label-maps" in dataset.conditions
        self._captions: dict[str, tuple[str, ...]] = {}
        self._entries: list[Entry] | None = None

    def entries(self) -> list[Entry]:
        """Return the chosen rows of the manifest; an unknown stand-in or tier raises `UserError`."""
        if self._entries is not None:
            return self._entries
        path, source = self._file("manifest")
        rows = list(read_manifest(path, source.sha256))
        options = self._options
        for what, known, asked in (
            ("stand-in", {row.standin for row in rows}, {*self._standins, *options.without_tests_of}),
            ("tier", {row.tier for row in rows}, set(options.tiers)),
        ):
            if asked - known:
                lacking, present = (", ".join(sorted(names)) for names in (asked - known, known))
                raise UserError(f"{path} has no {what} {lacking}; it has {present}")
        chosen = [row for row in rows if self._is_chosen(row)]
        if options.without_tests_of:
            tests = _TestDrawings(rows, options.without_tests_of)
            chosen = [row for row in chosen if row.role == "train" and row not in tests]
        # A drawing may stand in several stand-ins: the first one named gives its class.
        first = {row.source: row for row in sorted(chosen, key=lambda r: -self._standins.index(r.standin))}
        self._captions = {source: row.captions for source, row in first.items()}
        self._entries = [self._entry(row) for row in chosen if first[row.source] is row]
        return self._entries

    @property
    def _standins(self) -> tuple[str, ...]:
        return (self._options.standin, *self._options.also)

    def _is_chosen(self, row: ManifestRow) -> bool:
        """Tell whether a row belongs to the dataset: share-alike drawings never enter the test images."""
        allowed = not row.share_alike or (self._options.share_alike and row.role == "train")
        return allowed and row.standin in self._standins and row.tier in self._options.tiers

    @staticmethod
    def _entry(row: ManifestRow) -> Entry:
        return Entry(row.label, f"{row.set}--{row.name}", row.source, row.group, row.role, row.raster64_md5)

    def _icons(self) -> Iterator[Icon]:
        """Yield the drawings of the packs in use."""
        for name in ("icons", "icons_share_alike") if self._options.share_alike else ("icons",):
            path, source = self._file(name)
            yield from read_icons(path, source.sha256)

    def _label_maps(self, sources: Collection[str]) -> dict[str, np.ndarray]:
        """Return the label maps, uint8 (H, W), of the drawings from the checked file `face_parts`."""
        path, source = self._file("face_parts")
        data = read_verified(path, source.sha256)
        with refusing(f"{path} holds no label maps"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(info.file_size for info in archive.infolist()) > bounds.PACK_UNPACKED_BYTES:
                    raise ValueError("it unpacks to more than a pack of drawings may hold")
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                maps = dict(zip(map(str, stored["keys"]), stored["labels"], strict=True))
        lacking = [name for name in sources if name not in maps]
        if lacking:
            raise UserError(f"{path} has no label map of {min(lacking)} ({len(lacking)} such images)")
        return maps

    def items(self, sources: Collection[str]) -> Iterator[Item]:
        """Yield the drawings of these sources, rasterised."""
        entries = {entry.source: entry for entry in self.entries()}
        maps = self._label_maps(sources) if self._has_label_maps else {}
        for icon in self._icons():
            if icon.source in sources:
                image = rasterise(icon, self._options.size, self._options.background)
                digest = hashlib.sha256(icon.body.encode()).hexdigest()
                encoded, captions = png_bytes(image), self._captions[icon.source]
                yield Item(entries[icon.source], digest, image, encoded, ".png", captions, maps.get(icon.source))


class ImageFolderOptions(Options):
    """How an archive with one sub-folder for each class is laid out.

    `root` is the folder in the archive that holds the class folders (empty: found, if there is only one).
    `roles` maps folders below `root` to roles, where the archive itself has a split, such as
    `{train: train, val: test}`.
    """

    root: str = ""
    roles: dict[str, Role] = Field(default_factory=dict)


def _is_image(name: str) -> bool:
    """Return whether a member is an image of the dataset."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


class ImageFolder:
    """Reader `image-folder`: a folder or archive with one sub-folder of images for each class.

    Files with the same bytes form a group, so that a copy never stands on both sides of a split.
    """

    def __init__(self, dataset: DatasetConfig, assets_root: Path) -> None:
        self._options = validate(ImageFolderOptions, dataset.options, f"dataset {dataset.name}, options")
        self._path, source = source_file(dataset, assets_root, "archive")
        if source.sha256 is not None:
            self._verify(source.sha256)
        self._digests: dict[str, str] = {}
        self._entries: list[Entry] | None = None

    def _verify(self, sha256: str) -> None:
        """Compare the archive's checksum with the stated one."""
        if self._path.is_dir():
            raise UserError(
                f"{self._path} is a folder, which has no checksum: set its sha256 to null or give the archive"
            )
        if sha256_file(self._path) != sha256:
            raise UserError(f"{self._path} is not the file that the dataset states: its SHA-256 differs")

    def _images(self) -> Iterator[tuple[str, bytes]]:
        """Yield the image files of the source, those of macOS's resource forks left out."""
        yield from read_members(self._path, wanted=_is_image)

    def entries(self) -> list[Entry]:
        """Read the source once from front to back: names, classes and checksums of the bytes."""
        if self._entries is not None:
            return self._entries
        for name, data in self._images():
            self._digests[name] = hashlib.sha256(data).hexdigest()
        names = self._below_root(list(self._digests))
        if not names:
            raise UserError(f"{self._path} holds no image below the folder {self._options.root or '.'!r}")
        times: dict[str, int] = {}
        for name in names:
            times[self._digests[name]] = times.get(self._digests[name], 0) + 1
        self._entries = [
            self._entry(name, parts, self._digests[name] if times[self._digests[name]] > 1 else "")
            for name, parts in names.items()
        ]
        return self._entries

    def _below_root(self, names: list[str]) -> dict[str, tuple[str, ...]]:
        """Map member names to their parts below the root folder; all must be equally deep."""
        root = PurePosixPath(self._options.root).parts
        split = {name: PurePosixPath(name).parts for name in names}
        below = {name: parts[len(root) :] for name, parts in split.items() if parts[: len(root)] == root}
        depth = 3 if self._options.roles else 2
        while below and not root and all(len(parts) > depth for parts in below.values()):
            if len({parts[0] for parts in below.values()}) > 1:
                break
            below = {name: parts[1:] for name, parts in below.items()}
        for name, parts in below.items():
            if len(parts) != depth:
                shape = "<role>/<class>/<image>" if depth == 3 else "<class>/<image>"
                raise UserError(f"{self._path} holds {name!r}, which is not {shape}: set the option root")
        return below

    def _entry(self, name: str, parts: tuple[str, ...], digest: str) -> Entry:
        """Build the entry of a member; `digest` is set where other members have the same bytes."""
        role: Role | None = None
        stem = PurePosixPath(parts[-1]).stem
        if self._options.roles:
            if parts[0] not in self._options.roles:
                known = ", ".join(self._options.roles)
                raise UserError(f"{self._path} holds {name!r}, whose folder is none of the roles' ({known})")
            role = self._options.roles[parts[0]]
            stem = f"{parts[0]}--{stem}"
        return Entry(parts[-2], stem, name, f"copy-{digest[:16]}" if digest else "", role)

    def items(self, sources: Collection[str]) -> Iterator[Item]:
        """Yield the images of these sources; bytes that changed since they were listed raise `UserError`."""
        entries = {entry.source: entry for entry in self.entries()}
        for name, data in self._images():
            if name not in sources:
                continue
            digest = hashlib.sha256(data).hexdigest()
            if digest != self._digests[name]:
                raise UserError(f"{self._path} changed while it was read (at {name!r}): run again")
            image = decode_rgb(data, f"{self._path}: {name}")
            yield Item(entries[name], digest, image, data, PurePosixPath(name).suffix.lower())


READERS: dict[str, Callable[[DatasetConfig, Path], Reader]] = {
    "open-emoji": OpenEmoji,
    "image-folder": ImageFolder,
}


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


def build_reader(dataset: DatasetConfig, assets_root: Path) -> Reader:
    """Return the reader that a dataset names."""
    if dataset.reader not in READERS:
        known = ", ".join(sorted(READERS))
        raise UserError(f"dataset {dataset.name}: there is no reader `{dataset.reader}`; there are {known}")
    return READERS[dataset.reader](dataset, assets_root)
