"""Write the condition files of a split's images: captions and label maps of the source, speech from the captions."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from kdx2i.config import ConditionKind, DatasetConfig
from kdx2i.data.conditions.condition_rows import CONDITIONS, ConditionRow
from kdx2i.data.conditions.formats import (
    SUFFIXES,
    checksum,
    encode_captions,
    encode_description,
    encode_label_map,
    encode_speech,
    require_known_labels,
)
from kdx2i.data.conditions.synthesiser import Synthesiser, voice_of
from kdx2i.data.reader import Item
from kdx2i.errors import UserError

Write = Callable[[Path, bytes], None]


class ConditionWriter:
    """Writes the conditions that a dataset's YAML names below `out_dir`, with `write` for each file's bytes.

    A dataset with speech needs the synthesiser: without it this raises `UserError` before anything is written.
    """

    def __init__(self, dataset: DatasetConfig, out_dir: Path, write: Write) -> None:
        self._dataset, self._out_dir, self._write = dataset, out_dir, write
        if "speech" in dataset.conditions:
            self._synthesiser.describe()

    @cached_property
    def _synthesiser(self) -> Synthesiser:
        return Synthesiser()

    def descriptions(self) -> list[ConditionRow]:
        """Write `conditions/<kind>.json` of each kind that has something to say, and return the rows."""
        texts = {}
        if "label-maps" in self._dataset.conditions:
            texts["label-maps"] = {"labels": list(self._dataset.labels)}
        if "speech" in self._dataset.conditions:
            texts["speech"] = self._synthesiser.describe()
        return [
            self._row("", kind, f"{CONDITIONS}/{kind}.json", encode_description(texts[kind]))
            for kind in self._dataset.conditions
            if kind in texts
        ]

    def of_image(self, item: Item, image: str, stem: str) -> list[ConditionRow]:
        """Write the conditions of one image and return their rows.

        `image` is the image's path below the dataset's folder, `stem` its `<class>/<name>`, which the files share:
        `conditions/<kind>/<class>/<name>.<ending>`. Each caption has an utterance of its own, numbered from 0.
        """
        return [
            self._row(image, kind, f"{CONDITIONS}/{kind}/{stem}{number}{SUFFIXES[kind]}", data)
            for kind in self._dataset.conditions
            for number, data in self._encoded(item, kind)
        ]

    def _encoded(self, item: Item, kind: ConditionKind) -> Iterator[tuple[str, bytes]]:
        """Yield what a file's name has after the image's, and its bytes."""
        name = f"dataset {self._dataset.name}: {item.entry.source}"
        if kind == "captions":
            yield "", encode_captions(item.captions, name)
        elif kind == "speech":
            yield from self._spoken(item.captions, item.entry.source)
        elif item.label_map is None:
            raise UserError(f"{name} has no label map")
        else:
            require_known_labels(item.label_map, self._dataset.labels, name)
            yield "", encode_label_map(item.label_map)

    def _spoken(self, captions: Sequence[str], source: str) -> Iterator[tuple[str, bytes]]:
        """Yield an utterance of each caption of an image, all by its voice."""
        encode_captions(captions, f"dataset {self._dataset.name}: {source}")
        digits = len(str(len(captions) - 1))
        for number, caption in enumerate(captions):
            samples = self._synthesiser.say(caption, voice_of(source))
            yield f"--{number:0{digits}}", encode_speech(samples)

    def _row(self, image: str, kind: ConditionKind, file: str, data: bytes) -> ConditionRow:
        """Write one file and return its row."""
        self._write(self._out_dir / file, data)
        return ConditionRow(image, kind, file, checksum(data, kind, image, file))
