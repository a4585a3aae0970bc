"""The conditions of a split for training and evaluation; every file's checksum is compared when it is read."""

from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as functional
from torch import Tensor

from kdx2i.config import ConditionKind
from kdx2i.data.conditions.condition_rows import CONDITION_TABLE, ConditionRow, read_condition_rows
from kdx2i.data.conditions.formats import (
    decode_captions,
    decode_label_map,
    decode_labels,
    decode_speech,
    read_verified_file,
    require_known_labels,
)
from kdx2i.data.rows import ImageRow, Split
from kdx2i.errors import UserError

CACHE_BYTES = 2**30


class Conditions:
    """The captions, utterances and label maps of a split's images, read when they are asked for.

    Training asks for an image's captions or utterances again and again: files are kept, as checked, while all that is
    kept takes at most `cache_bytes`; others are read at each visit. Label maps are read at each visit. A split
    without the kind that is asked for, and a file that is missing, changed or broken, raise `UserError`.
    """

    def __init__(self, split: Split, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._folder = split.dataset_dir
        self._free_bytes = cache_bytes
        self._kept: dict[tuple[ConditionKind, str], list[tuple[bytes, str]]] = {}
        self._rows: dict[tuple[ConditionKind, str], list[ConditionRow]] = {}
        for row in read_condition_rows(self._folder / CONDITION_TABLE):
            self._rows.setdefault((row.kind, row.image), []).append(row)

    def captions(self, row: ImageRow) -> list[str]:
        """Return the captions of an image, at least one."""
        return [caption for data, name in self._files("captions", row.image) for caption in decode_captions(data, name)]

    def waveforms(self, row: ImageRow) -> list[Tensor]:
        """Return the utterances of an image, each int16 (N,) at `formats.RATE`, in the order of the captions."""
        return [torch.from_numpy(decode_speech(data, name)) for data, name in self._files("speech", row.image)]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels of the label maps, by number."""
        ((data, name),) = self._files("label-maps", "")
        return decode_labels(data, name)

    def label_maps(self, rows: Sequence[ImageRow], size: int) -> Tensor:
        """Return the label maps of some images, uint8 (N, size, size), in their order.

        Maps are resized to a square by the label under each pixel's centre.
        """
        maps = torch.empty((len(rows), size, size), dtype=torch.uint8)
        for number, row in enumerate(rows):
            ((data, name),) = self._files("label-maps", row.image)
            labels = decode_label_map(data, name)
            require_known_labels(labels, self.labels, name)
            whole = torch.from_numpy(labels)[None, None].float()
            maps[number] = functional.interpolate(whole, size=(size, size), mode="nearest-exact")[0, 0].to(torch.uint8)
        return maps

    def _files(self, kind: ConditionKind, image: str) -> list[tuple[bytes, str]]:
        """Return the checked bytes and the path of each file of a kind that an image has."""
        if (kind, image) in self._kept:
            return self._kept[kind, image]
        rows = self._rows.get((kind, image), [])
        if len(rows) != 1 and (kind != "speech" or not rows):
            of = f" of {image}" if image else ""
            raise UserError(
                f"{self._folder / CONDITION_TABLE} lists {len(rows)} files of {kind}{of}: make the split again"
            )
        files = [(read_verified_file(self._folder, row), str(self._folder / row.file)) for row in rows]
        size = sum(len(data) for data, _ in files)
        if kind != "label-maps" and size <= self._free_bytes:
            self._kept[kind, image] = files
            self._free_bytes -= size
        return files
