"""Reader `open-emoji`: drawings of the embedded pack, chosen and split by its manifest."""

import hashlib
import io
import zipfile
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from kdx2i import bounds
from kdx2i.config import DatasetConfig, validate
from kdx2i.data.decode import png_bytes
from kdx2i.data.manifest import ManifestRow, read_manifest
from kdx2i.data.pack import read_icons, read_verified
from kdx2i.data.reader import Entry, Item, Options, source_file
from kdx2i.data.svg import MAX_SIDE, Icon, rasterise
from kdx2i.errors import UserError
from kdx2i.foreign import refusing


class OpenEmojiOptions(Options):
    """Which part of the open emoji data a dataset is.

    `tiers`: `core` are the classes with seven or more permissively licensed drawings, `wide` the others.
    `share_alike` adds the CC BY-SA sets to the training images; the test images stay the same.
    `also` joins further stand-ins, classes of one name together. `without_tests_of` leaves out every test drawing
    of these stand-ins, all that looks like one (their near-duplicate groups, equal pixels), and the test images of
    the dataset itself: training images that no evaluation on these stand-ins has seen.
    `tests_unseen_by` leaves out the test drawings whose pixels are among the core tier's training drawings of these
    stand-ins: networks that learned from those have not seen the others.
    `size` in pixels; `background` is #rrggbb.
    """

    standin: str
    also: tuple[str, ...] = ()
    without_tests_of: tuple[str, ...] = ()
    tests_unseen_by: tuple[str, ...] = ()
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
            (
                "stand-in",
                {row.standin for row in rows},
                {*self._standins, *options.without_tests_of, *options.tests_unseen_by},
            ),
            ("tier", {row.tier for row in rows}, set(options.tiers)),
        ):
            if asked - known:
                lacking, present = (", ".join(sorted(names)) for names in (asked - known, known))
                raise UserError(f"{path} has no {what} {lacking}; it has {present}")
        chosen = [row for row in rows if self._is_chosen(row)]
        if options.without_tests_of:
            tests = _TestDrawings(rows, options.without_tests_of)
            chosen = [row for row in chosen if row.role == "train" and row not in tests]
        learned = (row for row in rows if row.standin in options.tests_unseen_by and row.tier == "core")
        seen = {row.raster64_md5 for row in learned if row.role == "train"}
        chosen = [row for row in chosen if row.role == "train" or row.raster64_md5 not in seen]
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
