"""Image files to RGB pixels, bounded before they are decoded, and the checksum of pixels."""

import hashlib
import io
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from kdx2i import bounds
from kdx2i.data.image_kinds import FORMATS, FRAMES, Alpha
from kdx2i.data.pixels import has_frames, to_rgb
from kdx2i.errors import UserError
from kdx2i.foreign import read_plain, reason

MAX_PIXELS = bounds.PIXELS
LARGE_PIXELS = 16_000_000
MAX_IMAGE_BYTES = bounds.IMAGE_BYTES

_one_large_at_a_time = threading.Lock()
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def decode_rgb(data: bytes, name: str, formats: Sequence[str] = FORMATS) -> Image.Image:
    """Return the RGB of `decode_image`, transparency laid on white."""
    return decode_image(data, name, formats)[0]


def decode_image(
    data: bytes, name: str, formats: Sequence[str] = FORMATS, alpha: Alpha = "white"
) -> tuple[Image.Image, frozenset[str]]:
    """Decode an image file held in memory to RGB, and say what is remarkable of it (`kdx2i.data.image_kinds`).

    The size in the header is compared with `MAX_PIXELS` before any pixel is decoded; of several frames the first one
    is taken. `name` names the file in the `UserError` that a broken, truncated, too large or unknown image raises,
    and one whose pixels have no stated range.
    """
    try:
        with Image.open(io.BytesIO(data), formats=tuple(formats)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            frames = {FRAMES} if has_frames(image, data) else set()
            image.load()
            rgb, remarks = to_rgb(image, name, alpha)
            return rgb, remarks | frames
    except _BOMB:
        raise UserError(f"{name} has more than {MAX_PIXELS} pixels: refused before decoding") from None
    except UnidentifiedImageError:
        raise UserError(f"{name} is not an image that can be read ({', '.join(formats)})") from None
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (Pillow's plug-ins raise anything on broken bytes)
        raise UserError(f"{name} is a truncated or broken image: {reason(error)}") from None


def is_large(data: bytes, formats: Sequence[str] = FORMATS) -> bool:
    """Return whether an image file has so many pixels that several should not be decoded at the same time."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(formats)) as image:
            return image.width * image.height > LARGE_PIXELS
    except (*_BOMB, OSError, SyntaxError, ValueError, MemoryError):  # What is wrong, `decode_image` says.
        return False


def read_rgb(path: Path) -> Image.Image:
    """Decode an image file; see `decode_rgb`. A missing or oversized file raises `UserError` naming it.

    Of several threads only one decodes a large image (`is_large`) at a time.
    """
    data = read_plain(
        path,
        MAX_IMAGE_BYTES,
        "run `kdx2i split` for its dataset",
        f"is larger than {MAX_IMAGE_BYTES} bytes: refused before decoding",
    )
    with _one_large_at_a_time if is_large(data) else nullcontext():
        return decode_rgb(data, str(path))


def pixels_sha256(image: Image.Image) -> str:
    """Return the SHA-256 of an RGB image's size and pixels: of `{w}x{h}:` and the raw rows.

    It does not depend on the file format or on the encoder.
    """
    return hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.tobytes()).hexdigest()


def png_bytes(image: Image.Image) -> bytes:
    """Encode an image as PNG without any metadata."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=False, compress_level=6)
    return buffer.getvalue()
