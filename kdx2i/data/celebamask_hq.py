"""Reader `celebamask-hq`: faces of CelebA-HQ with one mask for each part, merged to label maps.

Layout: `<...>/CelebA-HQ-img/<k>.jpg` and `<...>/CelebAMask-HQ-mask-anno/<k // 2000>/<k:05d>_<part>.png`.
"""

import hashlib
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from kdx2i.config import DatasetConfig, validate
from kdx2i.data.archive import read_members
from kdx2i.data.decode import decode_rgb
from kdx2i.data.reader import Entry, Item, Options, source_file, verify_source
from kdx2i.errors import UserError

_IMAGE = re.compile(r"(?:^|/)CelebA-HQ-img/(\d{1,6})\.jpg$")
# Some tools write the folder without its second hyphen.
_MASK = re.compile(r"(?:^|/)CelebAMask-?HQ-mask-anno/\d+/(\d{5,6})_([a-z_]+)\.png$")
LABEL = "face"
"""The class of all images."""


class CelebAMaskOptions(Options):
    """`first_test`: the number of the first image that tests, all images below it train; `side`: of a map, pixels."""

    first_test: int = Field(default=28_000, ge=0)
    side: int = Field(default=512, ge=8, le=4096)


class CelebAMaskHQ:
    """Numbered faces; the dataset's `labels` say the parts in the order in which they are painted, background first."""

    def __init__(self, dataset: DatasetConfig, assets_root: Path) -> None:
        self._options = validate(CelebAMaskOptions, dataset.options, f"dataset {dataset.name}, options")
        self._labels = dataset.labels
        self._path, source = source_file(dataset, assets_root, "archive")
        verify_source(self._path, source)
        self._entries: list[Entry] | None = None

    def entries(self) -> list[Entry]:
        """Return the images by their names alone; `UserError` where there is none."""
        if self._entries is None:
            found: dict[int, str] = {}

            def note(member: str) -> bool:
                match = _IMAGE.search(member)
                if match and found.setdefault(int(match[1]), member) != member:
                    raise UserError(f"{self._path} has the image {match[1]} twice: {member!r}")
                return False

            # Every name is looked at, and no file is read.
            list(read_members(self._path, wanted=note))
            if not found:
                raise UserError(f"{self._path} has no image CelebA-HQ-img/<number>.jpg")
            first = self._options.first_test
            self._entries = [
                Entry(LABEL, f"{number:05d}", member, role="test" if number >= first else "train")
                for number, member in sorted(found.items())
            ]
        return self._entries

    def items(self, sources: Collection[str]) -> Iterator[Item]:
        """Yield the faces of these sources with their label maps."""
        entries = {entry.source: entry for entry in self.entries() if entry.source in sources}
        maps = self._label_maps({int(entry.stem) for entry in entries.values()})
        for member, data in read_members(self._path, wanted=entries.__contains__):
            entry = entries[member]
            packed = maps.get(int(entry.stem))
            if packed is None:
                raise UserError(f"{self._path} has no mask of {member!r}")
            image = decode_rgb(data, f"{self._path}: {member}")
            digest = hashlib.sha256(data).hexdigest()
            yield Item(entry, digest, image, data, ".jpg", label_map=self._unpacked(packed))

    def _label_maps(self, numbers: Collection[int]) -> dict[int, bytes]:
        """Return the label maps of images, packed: those of 2,500 faces would fill 650 MB.

        Parts are painted in the order of their numbers, so at each pixel the highest number wins, in whatever order
        the masks come (`face_parsing/Data_preprocessing/g_mask.py` of switchablenorms/CelebAMask-HQ).
        """
        maps: dict[int, bytes] = {}
        side = self._options.side

        def is_wanted(member: str) -> bool:
            match = _MASK.search(member)
            return match is not None and int(match[1]) in numbers

        for member, data in read_members(self._path, wanted=is_wanted):
            match = _MASK.search(member)
            assert match is not None
            number, part = int(match[1]), match[2]
            if part not in self._labels[1:]:
                raise UserError(f"{self._path} has a mask of {part!r} ({member!r}), which is no label of the dataset")
            mask = np.asarray(decode_rgb(data, f"{self._path}: {member}", ("PNG",)))[..., 0]
            if mask.shape != (side, side):
                raise UserError(
                    f"{self._path}: the mask {member!r} has {mask.shape[1]} x {mask.shape[0]} pixels, "
                    f"but the dataset's `side` is {side}"
                )
            painted = np.where(mask > 0, self._labels.index(part), 0).astype(np.uint8)
            if number in maps:
                painted = np.maximum(painted, self._unpacked(maps[number]))
            maps[number] = zlib.compress(painted.tobytes(), 1)
        return maps

    def _unpacked(self, packed: bytes) -> np.ndarray:
        side = self._options.side
        return np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(side, side)
