"""Small datasets that the tests of the data room share."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from kdx2i.config import DatasetConfig

ROOT = Path(__file__).resolve().parents[2]


def _picture(seed: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    pixels = hashlib.shake_256(str(seed).encode()).digest(size[0] * size[1] * 3)
    return Image.frombytes("RGB", size, pixels)


def _encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def encoded():
    """A function from a seed to the bytes of an image file."""
    return lambda seed, form="PNG", size=(12, 10): _encoded(_picture(seed, size), form)


@pytest.fixture
def tar_of():
    """A function that writes a tar (by suffix gzipped) of names and bytes."""

    def write(path: Path, members: dict[str, bytes]) -> Path:
        with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def zip_of():
    """A function that writes a zip of names and bytes."""

    def write(path: Path, members: dict[str, bytes]) -> Path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return path

    return write


@pytest.fixture
def folder_dataset():
    """A function that describes an archive or folder as a dataset."""

    def describe(path: Path, *, sha256: str | None = None, options=None, **split) -> DatasetConfig:
        file = {"path": str(path), "sha256": sha256}
        return DatasetConfig.model_validate(
            {
                "name": "tiny",
                "title": "Tiny",
                "source": {"kind": "archive", "files": {"archive": file}},
                "licence": "CC0-1.0",
                "reader": "image-folder",
                "options": options or {},
                "split": split or {"rule": "per-class", "train": 3, "seed": 1},
            }
        )

    return describe
