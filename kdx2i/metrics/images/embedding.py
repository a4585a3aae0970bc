"""Images to features: one pass that decodes each image once for all extractors, in bounded memory."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.images.feature_store import FeatureStore
from kdx2i.metrics.images.stored_matrix import StoredMatrix
from kdx2i.metrics.images.streams import Images

_BLOCK = 8  # images taken from the source at a time
_WAITING_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Embedding:
    """What one extractor makes of images: `features` (N, d) and unbiased `logits` (N, k), in the images' order.

    `content_sha256` is over the pixels and sizes of all images in their order, whatever their names and formats.
    """

    features: StoredMatrix
    logits: StoredMatrix | None
    content_sha256: str


def pixels_sha256(image: Tensor) -> bytes:
    """Return the SHA-256 of an image uint8 (3, H, W): of `{W}x{H}:` and its rows of RGB, as the manifests have it."""
    digest = hashlib.sha256(f"{image.shape[2]}x{image.shape[1]}:".encode())
    digest.update(image.cpu().permute(1, 2, 0).contiguous().numpy().data)
    return digest.digest()


class _Lane:
    """One extractor's part of a pass: known rows are taken from the store, the others computed in whole batches."""

    def __init__(self, extractor: Extractor, count: int, folder: Path | None) -> None:
        self.extractor = extractor
        widths = {"features": extractor.dimension}
        if extractor.classes:
            widths["logits"] = extractor.classes
        self.tables = [StoredMatrix.blank((count, width), folder) for width in widths.values()]
        self._store = FeatureStore(folder, extractor.key, widths) if folder is not None else None
        self._waiting: list[tuple[int, Tensor]] = []
        self._new: dict[bytes, int] = {}

    def add(self, position: int, pixels: bytes, image: Tensor) -> None:
        """Take the image uint8 (3, H, W) at `position`."""
        if self._store is not None:
            if pixels in self._store:
                self._put([position], self._store.find(pixels))
                return
            self._new.setdefault(pixels, position)
        self._waiting.append((position, image))
        # No value depends on how many images are embedded at a time, but memory does where they are large.
        if len(self._waiting) == self.extractor.batch or sum(one.numel() for _, one in self._waiting) >= _WAITING_BYTES:
            self._run()

    def finish(self) -> None:
        """Embed what is left and keep what is new in the store."""
        if self._waiting:
            self._run()
        if self._store is not None:
            self._store.add(self._new, self.tables)

    def _run(self) -> None:
        features, logits = self.extractor.outputs([image for _, image in self._waiting])
        rows = [features.cpu()] if logits is None else [features.cpu(), logits.cpu()]
        self._put([position for position, _ in self._waiting], rows)
        self._waiting = []

    def _put(self, positions: list[int], rows: list[Tensor]) -> None:
        for table, values in zip(self.tables, rows, strict=True):
            table.put(torch.tensor(positions), values)


def embed(
    images: Images,
    extractors: Sequence[Extractor],
    *,
    logits: bool = False,
    folder: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Embedding]:
    """Return the embedding of the images by each extractor, from one pass over them.

    `logits` asks for the logits too, None for an extractor without them. With a `folder`, features are kept there
    and found again by the pixels of each image and the extractor's key: an image that was embedded before, in
    any set and under any name, costs its decoding only. Matrices above `rows.MEMORY_BYTES` lie in files (in
    `folder`, or where temporary files do), so memory does not grow with N but for a few hundred bytes an image.
    `progress` is called with the number of images done since the last call. Errors are those of `images`.
    """
    lanes = [_Lane(extractor, len(images), folder) for extractor in extractors]
    content = hashlib.sha256()
    for start, block in images.blocks(_BLOCK):
        for position, image in enumerate(block, start):
            pixels = pixels_sha256(image)
            content.update(pixels)
            for lane in lanes:
                lane.add(position, pixels, image)
        if progress is not None:
            progress(len(block))
    embeddings = []
    for lane in lanes:
        lane.finish()
        values = lane.tables[1] if logits and len(lane.tables) == 2 else None
        embeddings.append(Embedding(lane.tables[0], values, content.hexdigest()))
    return embeddings
