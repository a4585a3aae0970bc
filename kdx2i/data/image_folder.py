"""Reader `image-folder`: a folder or archive with one sub-folder of images for each class."""

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from pydantic import Field

from kdx2i.config import DatasetConfig, validate
from kdx2i.data.archive import read_members
from kdx2i.data.decode import decode_rgb
from kdx2i.data.image_kinds import SUFFIXES
from kdx2i.data.manifest import Role
from kdx2i.data.reader import Entry, Item, Options, source_file, verify_source
from kdx2i.errors import UserError


class ImageFolderOptions(Options):
    """How an archive with one sub-folder for each class is laid out.

    `root` is the folder in the archive that holds the class folders (empty: found, if there is only one).
    `roles` maps folders below `root` to roles, where the archive itself has a split, such as
    `{train: train, val: test}`.
    """

    root: str = ""
    roles: dict[str, Role] = Field(default_factory=dict)


def is_image(name: str) -> bool:
    """Return whether a member is an image of the dataset."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


class ImageFolder:
    """Images in class folders, listed without being decoded; `options` in place of those of the dataset's YAML.

    Files with the same bytes form a group, so that a copy never stands on both sides of a split.
    """

    def __init__(self, dataset: DatasetConfig, assets_root: Path, options: ImageFolderOptions | None = None) -> None:
        where = f"dataset {dataset.name}, options"
        self._options = validate(ImageFolderOptions, dataset.options, where) if options is None else options
        self._path, source = source_file(dataset, assets_root, "archive")
        verify_source(self._path, source)
        self._digests: dict[str, str] = {}
        self._entries: list[Entry] | None = None

    def _images(self) -> Iterator[tuple[str, bytes]]:
        """Yield the image files of the source, those of macOS's resource forks left out."""
        yield from read_members(self._path, wanted=is_image)

    def entries(self) -> list[Entry]:
        """Read the source once from front to back: names, classes and checksums of the bytes."""
        if self._entries is not None:
            return self._entries
        for name, data in self._images():
            self._digests[name] = hashlib.sha256(data).hexdigest()
        names = self._below_root(list(self._digests))
        if not names:
            raise UserError(f"{self._path} holds no image below the folder {self._options.root or '.'!r}")
        times: dict[str, int] = {}
        for name in names:
            times[self._digests[name]] = times.get(self._digests[name], 0) + 1
        self._entries = [
            self._entry(name, parts, self._digests[name] if times[self._digests[name]] > 1 else "")
            for name, parts in names.items()
        ]
        return self._entries

    def _below_root(self, names: list[str]) -> dict[str, tuple[str, ...]]:
        """Map member names to their parts below the root folder; all must be equally deep."""
        root = PurePosixPath(self._options.root).parts
        split = {name: PurePosixPath(name).parts for name in names}
        below = {name: parts[len(root) :] for name, parts in split.items() if parts[: len(root)] == root}
        depth = 3 if self._options.roles else 2
        while below and not root and all(len(parts) > depth for parts in below.values()):
            if len({parts[0] for parts in below.values()}) > 1:
                break
            below = {name: parts[1:] for name, parts in below.items()}
        for name, parts in below.items():
            if len(parts) != depth:
                shape = "<role>/<class>/<image>" if depth == 3 else "<class>/<image>"
                raise UserError(f"{self._path} holds {name!r}, which is not {shape}: set the option root")
        return below

    def _entry(self, name: str, parts: tuple[str, ...], digest: str) -> Entry:
        """Build the entry of a member; `digest` is set where other members have the same bytes."""
        role: Role | None = None
        stem = PurePosixPath(parts[-1]).stem
        if self._options.roles:
            if parts[0] not in self._options.roles:
                known = ", ".join(self._options.roles)
                raise UserError(f"{self._path} holds {name!r}, whose folder is none of the roles' ({known})")
            role = self._options.roles[parts[0]]
            stem = f"{parts[0]}--{stem}"
        return Entry(parts[-2], stem, name, f"copy-{digest[:16]}" if digest else "", role)

    def items(self, sources: Collection[str]) -> Iterator[Item]:
        """Yield the images of these sources; bytes that changed since they were listed raise `UserError`."""
        entries = {entry.source: entry for entry in self.entries()}
        for name, data in self._images():
            if name not in sources:
                continue
            digest = hashlib.sha256(data).hexdigest()
            if digest != self._digests[name]:
                raise UserError(f"{self._path} changed while it was read (at {name!r}): run again")
            image = decode_rgb(data, f"{self._path}: {name}")
            yield Item(entries[name], digest, image, data, PurePosixPath(name).suffix.lower())
