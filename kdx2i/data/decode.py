"""Image files to RGB pixels, bounded before they are decoded, and the checksum of pixels."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from kdx2i import bounds
from kdx2i.errors import UserError
from kdx2i.foreign import read_plain, reason

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = bounds.PIXELS
MAX_IMAGE_BYTES = bounds.IMAGE_BYTES


def decode_rgb(data: bytes, name: str, formats: Sequence[str] = FORMATS) -> Image.Image:
    """Decode an image file held in memory to RGB; transparency is laid on white.

    The size in the header is compared with `MAX_PIXELS` before any pixel is decoded. `name` names the file
    in the `UserError` that a broken, truncated, too large or unknown image raises.
    """
    try:
        with Image.open(io.BytesIO(data), formats=tuple(formats)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.load()
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                layer = image.convert("RGBA")
                return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
            return image.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{name} has more than {MAX_PIXELS} pixels: refused before decoding") from None
    except UnidentifiedImageError:
        raise UserError(f"{name} is not an image that can be read ({', '.join(formats)})") from None
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (Pillow's plug-ins raise anything on broken bytes)
        raise UserError(f"{name} is a truncated or broken image: {reason(error)}") from None


def read_rgb(path: Path) -> Image.Image:
    """Decode an image file; see `decode_rgb`. A missing or oversized file raises `UserError` naming it."""
    data = read_plain(
        path,
        MAX_IMAGE_BYTES,
        "run `kdx2i split` for its dataset",
        f"is larger than {MAX_IMAGE_BYTES} bytes: refused before decoding",
    )
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
