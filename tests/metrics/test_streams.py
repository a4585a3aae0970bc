"""Folders and zip archives of images: one order, the same pixels, and a clear sentence for what is wrong."""

import io
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.images import streams
from kdx2i.metrics.images.streams import ImageFiles, TensorImages, open_images


def encoded(image: Tensor, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format=kind)
    return buffer.getvalue()


def write(place: Path, members: dict[str, bytes]) -> Path:
    """Write the members below a folder, or into a zip archive where the name ends so."""
    if place.suffix == ".zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return place
    for name, data in members.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def everything(images: ImageFiles | TensorImages, size: int = 5) -> list[Tensor]:
    return [image for _, block in images.blocks(size) for image in block]


@pytest.fixture
def pictures(images: object) -> Tensor:
    return images(7, 16, 0)  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize("place", ["set", "set.zip"])
def test_flat_images(place: str, pictures: Tensor, tmp_path: Path) -> None:
    members = {f"{number}.png": encoded(image) for number, image in reversed(list(enumerate(pictures)))}
    image_set = open_images(write(tmp_path / place, {**members, "notes.txt": b"no image", ".hidden.png": b""}))
    assert image_set.names == sorted(members) and image_set.classes == [] and image_set.labels.tolist() == [0] * 7
    assert len(image_set) == 7 and image_set.source == str(tmp_path / place)
    for size in (1, 3, 7, 50):
        assert [start for start, _ in image_set.blocks(size)] == list(range(0, 7, size))
        assert torch.equal(torch.stack(everything(image_set, size)), pictures)
    assert torch.equal(torch.stack(everything(TensorImages(pictures, image_set.labels), 3)), pictures)


@pytest.mark.parametrize("around", ["", "outside/"])
@pytest.mark.parametrize("place", ["set", "set.zip"])
def test_one_folder_a_class(place: str, around: str, pictures: Tensor, tmp_path: Path) -> None:
    members = {f"{around}{'ab'[number % 2]}/{number}.png": encoded(image) for number, image in enumerate(pictures)}
    image_set = open_images(write(tmp_path / place, {**members, "__MACOSX/x/._0.png": b"", f"{around}log.csv": b""}))
    assert image_set.classes == ["a", "b"] and image_set.labels.tolist() == [0] * 4 + [1] * 3
    assert image_set.names == [f"a/{number}.png" for number in (0, 2, 4, 6)] + [
        f"b/{number}.png" for number in (1, 3, 5)
    ]
    assert torch.equal(torch.stack(everything(image_set)), pictures[[0, 2, 4, 6, 1, 3, 5]])


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "ppm", "webp", "jpeg"])
def test_formats(kind: str, pictures: Tensor, tmp_path: Path) -> None:
    (image_set,) = everything(open_images(write(tmp_path / "set", {f"A.{kind.upper()}": encoded(pictures[0], kind)})))
    if kind not in ("webp", "jpeg"):
        assert torch.equal(image_set, pictures[0])
    assert (image_set.float() - pictures[0].float()).abs().mean() < 20


def test_any_sizes_and_kinds_of_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("RGBA", (9, 5), (0, 0, 0, 0)).save(folder / "clear.png")
    Image.new("L", (4, 6), 7).save(folder / "grey.png")
    clear, grey = everything(open_images(folder))
    assert clear.shape == (3, 5, 9) and bool((clear == 255).all())
    assert grey.shape == (3, 6, 4) and bool((grey == 7).all())


def test_what_is_no_set_of_images(pictures: Tensor, tmp_path: Path) -> None:
    png = encoded(pictures[0])
    cases = {
        "empty": ({}, "holds no image"),
        "text": ({"a.txt": b"x"}, "holds no image"),
        "mixed": ({"a.png": png, "b/c.png": png}, r"a\.png directly and b/c\.png in a sub-folder"),
        "deep": ({"a/b/c.png": png, "x/y.png": png}, r"a/b/c\.png, deeper"),
        "deeper": ({"a/b/c/d.png": png}, r"a/b/c/d\.png, deeper"),
    }
    for name, (members, sentence) in cases.items():
        (tmp_path / name).mkdir()
        for place in (tmp_path / name, tmp_path / f"{name}.zip"):
            with pytest.raises(UserError, match=sentence) as caught:
                open_images(write(place, members))
            assert str(place) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not exist"):
        open_images(tmp_path / "nothing")
    with pytest.raises(UserError, match="neither a folder nor"):
        open_images(tmp_path / "text" / "a.txt")
    (tmp_path / "broken.zip").write_bytes(b"PK not a zip")
    with pytest.raises(UserError, match="not a readable archive"):
        open_images(tmp_path / "broken.zip")


@pytest.mark.parametrize("place", ["set", "set.zip"])
def test_a_broken_image_is_named(place: str, pictures: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png = encoded(pictures[0])
    for data, sentence in ((png[:-30], "truncated"), (b"text", "not an image"), (b"", "not an image")):
        image_set = open_images(
            write(tmp_path / place, {f"{number}.png": png for number in range(9)} | {"7.png": data})
        )
        with pytest.raises(UserError, match=rf"7\.png.*{sentence}"):
            everything(image_set)
    monkeypatch.setattr("kdx2i.data.decode.MAX_PIXELS", 100)
    with pytest.raises(UserError, match=r"0\.png has more than 100 pixels"):
        everything(image_set)


def test_a_file_that_is_too_large_or_gone(pictures: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_set = open_images(write(tmp_path / "set", {"a.png": encoded(pictures[0])}))
    monkeypatch.setattr(streams, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(UserError, match=r"a\.png is larger than 10 bytes"):
        everything(image_set)
    (tmp_path / "set" / "a.png").unlink()
    with pytest.raises(UserError, match=r"a\.png does not exist"):
        everything(image_set)


def test_unsafe_archives(pictures: Tensor, tmp_path: Path) -> None:
    png = encoded(pictures[0])
    for name in ("../a.png", "/a.png", "x\\..\\a.png", "c:/a.png"):
        with pytest.raises(UserError, match="leaves the archive"):
            open_images(write(tmp_path / "a.zip", {name: png}))
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/hostname")
    with pytest.raises(UserError, match="is a link, has holes or is no plain file"):
        open_images(tmp_path / "link.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(32 * 2**20))
    with pytest.raises(UserError, match="unpacks to more"):
        open_images(tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "damaged.zip", "w") as archive:
        archive.writestr("a.png", png)
    data = bytearray((tmp_path / "damaged.zip").read_bytes())
    data[60] ^= 1
    (tmp_path / "damaged.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.png, which cannot be read: Bad CRC"):
        everything(open_images(tmp_path / "damaged.zip"))


def test_a_reader_that_stops_early_leaves_no_thread(pictures: Tensor, tmp_path: Path) -> None:
    import threading

    members = {f"{number}.png": encoded(pictures[number % 7]) for number in range(40)}
    blocks = open_images(write(tmp_path / "set", members)).blocks(2)
    assert np.array_equal(next(blocks)[1][1], pictures[1])
    blocks.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
