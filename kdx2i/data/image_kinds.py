"""The kinds of image files, by their formats and endings, and what may be remarkable of one. No library is imported."""

from typing import Literal

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
Alpha = Literal["white", "drop"]
"""What becomes of transparency: laid on white, or dropped as clean-fid and torch-fidelity do."""
DEEP, FRAMES, TRANSPARENT = "16-bit grey", "several frames", "transparent"
"""What may be remarkable of a file: its grey was brought to 8 bits, it has more frames, pixels were not opaque."""
