"""How text-to-image code crops CUB's birds by their boxes (`get_imgs`, `datasets.py` of wtliao/text2image)."""

from collections.abc import Sequence

from PIL import Image

ENLARGED = 76 / 64
"""The shorter side before the random crop, as a multiple of the image's final side."""


def crop_box(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the crop around a box (x, y, width, height) of an image, in pixels.

    A square of 1.5 times the box's longer side around its centre, clipped to the image, so not always a square.
    """
    x, y, box_width, box_height = (int(number) for number in box)
    reach = int(0.75 * max(box_width, box_height))
    centre_x, centre_y = int((2 * x + box_width) / 2), int((2 * y + box_height) / 2)
    left, right = max(0, centre_x - reach), min(width, centre_x + reach)
    top, bottom = max(0, centre_y - reach), min(height, centre_y + reach)
    return left, top, right, bottom


def enlarged_crop(image: Image.Image, box: Sequence[float], side: int) -> Image.Image:
    """Return the crop around a box with its shorter side int(side * 76 / 64) px, Pillow's bilinear."""
    crop = image.crop(crop_box(box, image.width, image.height))
    shorter, size = min(crop.size), int(side * ENLARGED)
    # The longer side is truncated, as torchvision's Resize does.
    scaled = tuple(size if length == shorter else int(size * length / shorter) for length in crop.size)
    return crop.resize((scaled[0], scaled[1]), Image.Resampling.BILINEAR)
