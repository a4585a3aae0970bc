"""The pixels of a decoded image as RGB of 8 bits, whatever mode it is kept in, and what happened to them on the way."""

import struct

import numpy as np
from PIL import Image

from kdx2i.data.image_kinds import DEEP, TRANSPARENT, Alpha
from kdx2i.errors import UserError

_WHITE_IS_ZERO, _PHOTOMETRIC, _BITS_PER_SAMPLE = 0, 262, 258  # of TIFF 6.0
_BIG_TIFF = 43
_HAS_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


def to_rgb(image: Image.Image, name: str, alpha: Alpha = "white") -> tuple[Image.Image, frozenset[str]]:
    """Return a loaded image as RGB, and which of `DEEP` and `TRANSPARENT` are true of it.

    Grey of 16 bits becomes round(v / 257). Transparency is laid on white or, with `alpha` = `drop`, ignored.
    `UserError` for 32-bit integers and floats, whose range no file states, and for modes without a conversion.
    """
    remarks: set[str] = set()
    opacity: Image.Image | None = None
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        remarks.add(DEEP)
        image, opacity = _eight_bits(image)
    elif image.mode in ("I", "F"):
        kind = "floating-point numbers" if image.mode == "F" else "integers of 32 bits or with a sign"
        raise UserError(f"{name} holds {kind}, which do not say where black and white are: save it with 8 or 16 bits")
    try:
        if image.mode in _HAS_ALPHA or "transparency" in image.info:
            opacity = image.convert("RGBA").getchannel("A")
        rgb = image.convert("RGB")
    except ValueError:
        raise UserError(
            f"{name} has the colours {image.mode}, which cannot be brought to RGB: save it as RGB"
        ) from None
    if opacity is None or opacity.getextrema() == (255, 255):
        return rgb, frozenset(remarks)
    if alpha == "white":
        layer = rgb.convert("RGBA")
        layer.putalpha(opacity)
        rgb = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return rgb, frozenset(remarks | {TRANSPARENT})


def has_frames(image: Image.Image, data: bytes) -> bool:
    """Return whether an opened image, whose file is `data`, has more than one frame or page."""
    if image.format != "TIFF":
        return bool(getattr(image, "is_animated", False))
    # Pillow would go through all pages, of which a small crafted file may have millions: here one offset is read.
    order = "<" if data[:2] == b"II" else ">"
    try:
        (version,) = struct.unpack_from(f"{order}H", data, 2)
        offset, count, entry = ("Q", "Q", 20) if version == _BIG_TIFF else ("I", "H", 12)
        (first,) = struct.unpack_from(f"{order}{offset}", data, 8 if version == _BIG_TIFF else 4)
        (entries,) = struct.unpack_from(f"{order}{count}", data, first)
        (second,) = struct.unpack_from(f"{order}{offset}", data, first + struct.calcsize(f"={count}") + entry * entries)
    except struct.error:
        return False
    return bool(second)


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return grey of up to 16 bits as grey of 8, and its opacity where one grey level is transparent."""
    values = np.asarray(image).astype(np.int32)
    tags = getattr(image, "tag_v2", {})
    white = 2 ** tags.get(_BITS_PER_SAMPLE, (16,))[0] - 1
    clear = image.info.get("transparency")
    opacity = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)) if isinstance(clear, int) else None
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = white - values
    # round(255 v / white), for 16 bits round(v / 257); the halves, which 16 bits do not have, go up.
    grey = (2 * 255 * values + white) // (2 * white)
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)), opacity
