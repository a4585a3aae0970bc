"""How two sets of image files differ in ways that move scores by themselves: format, size, depth of grey."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from torch import Tensor

from kdx2i.data.image_kinds import DEEP
from kdx2i.metrics.images.streams import ImageFiles

_ONE = {"jpg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "tif": "tiff", "pgm": "ppm", "pbm": "ppm", "pnm": "ppm"}


class MeasuredFiles(ImageFiles):
    """Image files whose sizes are kept as they are decoded: `sizes`, by (width, height) in pixels."""

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield (position of the first, up to `size` images uint8 (3, H, W)), in order."""
        self.sizes: Counter[tuple[int, int]] = Counter()
        for start, block in super().blocks(size):
            self.sizes.update((image.shape[2], image.shape[1]) for image in block)
            yield start, block

    @property
    def formats(self) -> Counter[str]:
        """How many files there are of each format, as their names have it."""
        suffixes = (PurePosixPath(name).suffix.lower().lstrip(".") for name in self.names)
        return Counter(_ONE.get(suffix, suffix) for suffix in suffixes)


def differences(generated: MeasuredFiles, reference: MeasuredFiles) -> list[str]:
    """Return a sentence for each way in which the sets, both read once, differ."""
    sentences = []
    formats = generated.formats, reference.formats
    if set(formats[0]) != set(formats[1]):
        words = [_listed([f"{count} {name}" for name, count in one.most_common()]) for one in formats]
        sentences.append(
            f"file formats differ: generated {words[0]}, reference {words[1]}; compression alone moves FID and KID by "
            "more than many methods differ, so give both sets one format"
        )
    if set(generated.sizes) != set(reference.sizes):
        words = [_sizes(one.sizes) for one in (generated, reference)]
        sentences.append(
            f"sizes differ: generated {words[0]}, reference {words[1]} px; resizing alone moves FID and KID, so give "
            "both sets the size that the model draws"
        )
    deep = [len(one.remarks.get(DEEP, ())) for one in (generated, reference)]
    if bool(deep[0]) != bool(deep[1]):
        side, count = ("generated", deep[0]) if deep[0] else ("reference", deep[1])
        sentences.append(f"bit depths differ: {count} {side} images have 16 bits, the other set has 8")
    return sentences


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    common = [f"{width} x {height}" for (width, height), _ in sizes.most_common(2)]
    more = f" and {len(sizes) - 2} more sizes" if len(sizes) > 2 else ""
    return _listed(common) + more


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
