"""Figures and sample grids inside the page, recompressed until all of them together fit."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from kdx2i import bounds
from kdx2i.data.decode import decode_rgb
from kdx2i.foreign import read_plain

BUDGET = 11_000_000
"""Characters that all pictures of a page may take together, as base64; a page stays below 15 MB with them."""
_STEPS = ((82, 1), (68, 1), (50, 1), (35, 1), (50, 2), (30, 2), (30, 4))
"""Qualities of WebP, and by what a side is divided, from the best to the smallest."""


@dataclass(frozen=True)
class Picture:
    """A picture of the page: where its file lies (relative to the repository), what it shows, its pixels as a URI."""

    key: str
    place: str
    caption: str
    uri: str
    width: int
    height: int


class Pictures:
    """The picture files of a report, each once, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Path, str]] = {}

    def add(self, path: Path, place: str, caption: str) -> str:
        """Add a file and return its key in the page; `place` names it for people."""
        for known, (file, _) in self._files.items():
            if file == path:
                return known
        key = f"picture-{len(self._files)}"
        self._files[key] = (path, caption or place)
        return key

    def encoded(self, root: Path, budget: int = BUDGET) -> list[Picture]:
        """Return all pictures, all of one quality: the best with which their URIs have at most `budget` characters.

        Where not even the smallest fits, that one is taken. A broken file raises `UserError`.
        """
        images = {key: _opened(path) for key, (path, _) in self._files.items()}
        uris: dict[str, str] = {}
        for quality, divisor in _STEPS:
            uris, taken = {}, 0
            smallest = (quality, divisor) == _STEPS[-1]
            for key, image in images.items():
                uris[key] = _uri(image, quality, divisor)
                taken += len(uris[key])
                if taken > budget and not smallest:
                    break
            if taken <= budget:
                break
        return list(self._pictures(root, images, uris))

    def _pictures(self, root: Path, images: dict[str, Image.Image], uris: dict[str, str]) -> Iterator[Picture]:
        for key, (path, caption) in self._files.items():
            place = path.relative_to(root).as_posix()
            yield Picture(key, place, caption, uris[key], images[key].width, images[key].height)


def _opened(path: Path) -> Image.Image:
    return decode_rgb(read_plain(path, bounds.IMAGE_BYTES), str(path))


def _uri(image: Image.Image, quality: int, divisor: int) -> str:
    """Return an image as WebP in a data URI."""
    if divisor > 1:
        image = image.resize((max(1, image.width // divisor), max(1, image.height // divisor)), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
