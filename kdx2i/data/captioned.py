"""Reader `captioned-images`: photographs with a text file of captions each, as for CUB-200-2011 and Oxford-102.

The captions are those of Reed et al. (reedscot/icml2016): `<...>/<class>/<image>.txt`, one caption a line.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pydantic import Field

from kdx2i import bounds
from kdx2i.config import DatasetConfig, validate
from kdx2i.data.archive import Limits, read_members
from kdx2i.data.bird_crops import crop_box
from kdx2i.data.decode import png_bytes
from kdx2i.data.image_folder import ImageFolder, ImageFolderOptions
from kdx2i.data.manifest import Role
from kdx2i.data.reader import Entry, Item, Options, source_file, verify_source
from kdx2i.errors import UserError

Box = tuple[float, ...]
_NUMBER = re.compile(r"\d+")
_LIMITS = Limits(member_bytes=bounds.CONDITION_BYTES["captions"])
# Beside the folder `images` of CUB-200-2011.
_NAMES, _BOXES = "images.txt", "bounding_boxes.txt"


class CaptionedOptions(Options):
    """How images and captions find each other.

    `images`: the folder of the file `archive` that holds the class folders, or the images where `class_folders` is
    false: then an image's class is the folder of its captions. `captions`: how many of an image are taken, the first.
    `test_classes`: the numbers in the names of the classes that test; all others train. `boxes` cuts each image to its
    box, enlarged (`kdx2i.data.bird_crops`), by the lists beside `images`.
    """

    images: str
    class_folders: bool = True
    captions: int = Field(default=10, ge=1)
    test_classes: tuple[int, ...] = Field(min_length=1)
    boxes: bool = False


class CaptionedImages:
    """Images from the file `archive`, their captions from the file `captions`."""

    def __init__(self, dataset: DatasetConfig, assets_root: Path) -> None:
        where = f"dataset {dataset.name}, options"
        self._options = options = validate(CaptionedOptions, dataset.options, where)
        root = PurePosixPath(options.images)
        self._root = root if options.class_folders else root.parent
        self._images_path, _ = source_file(dataset, assets_root, "archive")
        self._captions_path, captions = source_file(dataset, assets_root, "captions")
        verify_source(self._captions_path, captions)
        below = "" if self._root == PurePosixPath(".") else self._root.as_posix()
        self._images = ImageFolder(dataset, assets_root, ImageFolderOptions(root=below))
        self._captions: dict[str, tuple[str, ...]] = {}
        self._entries: list[Entry] | None = None

    def entries(self) -> list[Entry]:
        """Return the images; `UserError` for one without captions, and for a test class that no image has."""
        if self._entries is None:
            listed = self._images.entries()
            classes = self._read_captions({_key(entry) for entry in listed})
            self._entries = [self._entry(entry, classes) for entry in listed]
            missing = set(self._options.test_classes) - {_number(entry.label) for entry in self._entries}
            if missing:
                raise UserError(
                    f"{self._images_path} has no image of the class number {min(missing)}, which is to test "
                    f"({len(missing)} such classes)"
                )
        return self._entries

    def _read_captions(self, wanted: Collection[tuple[str, str]]) -> dict[str, str]:
        """Read the captions of the wanted images (class, name) and return the class of each by its key."""
        names = {name for _, name in wanted}
        classes: dict[str, str] = {}

        def is_text(member: str) -> bool:
            path = PurePosixPath(member)
            return path.suffix == ".txt" and len(path.parts) > 1 and path.stem in names

        for member, data in read_members(self._captions_path, _LIMITS, is_text):
            label, name = PurePosixPath(member).parts[-2], PurePosixPath(member).stem
            key = f"{label}/{name}" if self._options.class_folders else name
            if key in classes:
                raise UserError(f"{self._captions_path} has captions of {key!r} twice")
            classes[key] = label
            self._captions[key] = self._lines(data, member)
        return classes

    def _lines(self, data: bytes, member: str) -> tuple[str, ...]:
        """Return the first captions of a file, without letters that are no UTF-8: the published files have some."""
        lines = (" ".join(line.split()) for line in data.decode("utf-8", "ignore").replace("\ufffd", " ").split("\n"))
        captions = tuple(line for line in lines if line)[: self._options.captions]
        if len(captions) < self._options.captions:
            raise UserError(
                f"{self._captions_path}: {member!r} has {len(captions)} captions, but the dataset takes "
                f"{self._options.captions} of each image"
            )
        return captions

    def _entry(self, entry: Entry, classes: dict[str, str]) -> Entry:
        key = self._caption_key(entry)
        if key not in classes:
            raise UserError(f"{self._captions_path} has no captions of {entry.source!r}")
        # Copies are no groups here: the published classes say which side an image is on.
        role: Role = "test" if _number(classes[key]) in self._options.test_classes else "train"
        return replace(entry, label=classes[key], group="", role=role)

    def _caption_key(self, entry: Entry) -> str:
        label, name = _key(entry)
        return f"{label}/{name}" if self._options.class_folders else name

    def items(self, sources: Collection[str]) -> Iterator[Item]:
        """Yield the images of these sources with their captions, cut to their boxes where that is asked for."""
        own = {entry.source: entry for entry in self.entries()}
        boxes = self._read_boxes() if self._options.boxes else {}
        for item in self._images.items(sources):
            entry = own[item.entry.source]
            captions = self._captions[self._caption_key(item.entry)]
            item = replace(item, entry=entry, captions=captions)
            if self._options.boxes:
                item = self._cut(item, boxes)
            yield item

    def _cut(self, item: Item, boxes: dict[str, Box]) -> Item:
        name = PurePosixPath(item.entry.source).relative_to(self._root).as_posix()
        if name not in boxes:
            raise UserError(f"{self._images_path} has no box of {item.entry.source!r} in its {_BOXES}")
        left, top, right, bottom = crop_box(boxes[name], item.image.width, item.image.height)
        if right <= left or bottom <= top:
            raise UserError(f"{self._images_path}: the box of {item.entry.source!r} does not lie in the image")
        image = item.image.crop((left, top, right, bottom))
        return replace(item, image=image, encoded=png_bytes(image), suffix=".png")

    def _read_boxes(self) -> dict[str, Box]:
        """Return the boxes (x, y, width, height) in pixels by the images' names below the folder of images."""
        places = {name: (self._root.parent / name).as_posix() for name in (_NAMES, _BOXES)}
        texts = dict(read_members(self._images_path, wanted=set(places.values()).__contains__))
        tables: dict[str, dict[str, list[str]]] = {}
        for name, place in places.items():
            if place not in texts:
                raise UserError(f"{self._images_path} has no {place}, which has the images' boxes")
            rows = [line.split() for line in texts[place].decode("utf-8", "replace").splitlines() if line.strip()]
            tables[name] = {row[0]: row[1:] for row in rows}
        boxes: dict[str, Box] = {}
        for number, values in tables[_BOXES].items():
            try:
                (image,) = tables[_NAMES][number]
                box = tuple(float(value) for value in values)
                if len(box) != 4 or not all(abs(value) < bounds.PIXELS for value in box):
                    raise ValueError
            except (KeyError, ValueError):
                raise UserError(
                    f"{self._images_path}: {places[_BOXES]} has no box that can be read for image {number[:20]}"
                ) from None
            boxes[image] = box
        return boxes


def _key(entry: Entry) -> tuple[str, str]:
    """Return the class and the name, without its ending, of an image's file."""
    path = PurePosixPath(entry.source)
    return path.parent.name, path.stem


def _number(label: str) -> int | None:
    """Return the number in a class's name: 1 of `001.Black_footed_Albatross` and of `class_00001`."""
    found = _NUMBER.search(label)
    return int(found.group()) if found and len(found.group()) < 9 else None
