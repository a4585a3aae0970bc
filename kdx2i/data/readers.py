"""Readers by the names that a dataset's YAML gives them. A new layout is one class and one line here."""

from collections.abc import Callable
from pathlib import Path

from kdx2i.config import DatasetConfig
from kdx2i.data.captioned import CaptionedImages
from kdx2i.data.celebamask_hq import CelebAMaskHQ
from kdx2i.data.image_folder import ImageFolder
from kdx2i.data.open_emoji import OpenEmoji
from kdx2i.data.reader import Reader
from kdx2i.errors import UserError

READERS: dict[str, Callable[[DatasetConfig, Path], Reader]] = {
    "open-emoji": OpenEmoji,
    "image-folder": ImageFolder,
    "captioned-images": CaptionedImages,
    "celebamask-hq": CelebAMaskHQ,
}


def build_reader(dataset: DatasetConfig, assets_root: Path) -> Reader:
    """Return the reader that a dataset names."""
    if dataset.reader not in READERS:
        known = ", ".join(sorted(READERS))
        raise UserError(f"dataset {dataset.name}: there is no reader `{dataset.reader}`; there are {known}")
    return READERS[dataset.reader](dataset, assets_root)
