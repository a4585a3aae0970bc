"""A small dataset whose source has captions and label maps."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from kdx2i.config import DatasetConfig
from kdx2i.data import readers
from kdx2i.data.decode import png_bytes
from kdx2i.data.reader import Entry, Item

SPEECH = {"task": "speech", "conditions": ["captions", "speech", "label-maps"], "labels": ["ground", "leaf", "stem"]}


class Flowers:
    """Reader `flowers`: a rose and a daisy to train on, a lily to test on, two images of each."""

    captions = ("a flower", "a {} flower, number {}")

    def __init__(self, dataset, assets_root):
        self._entries = [
            Entry(label, f"{label}{number}", f"{label}:{number}", "", role)
            for label, role in (("rose", "train"), ("daisy", "train"), ("lily", "test"))
            for number in range(2)
        ]

    def entries(self):
        return self._entries

    def items(self, wanted):
        for number, entry in enumerate(self._entries):
            image = Image.new("RGB", (8, 8), (40 * number, 0, 0))
            captions = tuple(caption.format(entry.label, number) for caption in self.captions)
            numbers = (np.arange(30, dtype=np.uint8).reshape(5, 6) + number) % 3
            digest = hashlib.sha256(entry.source.encode()).hexdigest()
            yield Item(entry, digest, image, png_bytes(image), ".png", captions, numbers)


@pytest.fixture
def flowers(monkeypatch):
    """A function that describes the dataset, by default with all kinds of conditions."""
    monkeypatch.setitem(readers.READERS, "flowers", Flowers)

    def describe(**keys) -> DatasetConfig:
        return DatasetConfig.model_validate(
            {
                "name": "flowers",
                "title": "Flowers",
                "source": {"kind": "embedded", "files": {"archive": {"path": "none", "sha256": None}}},
                "licence": "CC0-1.0",
                "reader": "flowers",
                "split": {"rule": "manifest", "disjoint": True},
                **(keys or SPEECH),
            }
        )

    return describe
