"""Images as tensors: decoded once, resized with antialiasing, verified, in bounded memory."""

import errno
import shutil
import threading
import time

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from kdx2i.config import load_dataset
from kdx2i.data import decode as decode_module
from kdx2i.data import images as images_module
from kdx2i.data.images import ImageSet, Split, load_images, load_roles, pixel_store
from kdx2i.data.split import make_split
from kdx2i.errors import UserError


@pytest.fixture(scope="module")
def faces(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "open-animal-faces"
    make_split(load_dataset(root, "open-animal-faces"), root, folder, progress=False)
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The paths that were decoded."""
    paths, real = [], images_module.read_rgb
    monkeypatch.setattr(images_module, "read_rgb", lambda path: paths.append(path) or real(path))
    return paths


@pytest.mark.parametrize(("role", "count"), [("train", 114), ("test", 44), ("all", 158)])
def test_shapes_labels_and_order(faces, role, count):
    split = Split(faces)
    pixels, labels = load_images(split, role, 64)
    assert pixels.shape == (count, 3, 64, 64) and pixels.dtype == torch.uint8
    assert labels.shape == (count,) and labels.dtype == torch.int64
    rows = split.select(role)
    assert [split.classes[label] for label in labels.tolist()] == [row.label for row in rows]
    own = np.asarray(Image.open(faces / rows[-1].image))
    assert np.array_equal(pixels[-1].permute(1, 2, 0).numpy(), own)


def test_half_size_is_a_mean_of_neighbours_not_every_second_pixel(faces):
    split = Split(faces)
    whole, half = (load_images(split, "test", size)[0].float() for size in (64, 32))
    means = torch.nn.functional.avg_pool2d(whole, 2)
    assert (half - means).abs().mean() < 4 < (half - whole[:, :, ::2, ::2]).abs().mean()


def test_a_cached_set_decodes_each_image_once(faces, decoded):
    images = ImageSet(Split(faces), "test", 32)
    first = [images[index] for index in range(len(images))]
    again = [images[index] for index in range(len(images))]
    assert len(decoded) == len(images) == 44
    assert all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(first, again, strict=True))
    assert torch.equal(images.stack(), torch.stack([image for image, _ in first]))
    assert images.labels.tolist() == [label for _, label in first]


def test_a_set_above_the_limit_is_mapped_from_a_file_and_gives_the_same(faces, decoded, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    split, bytes_ = Split(faces), 44 * 3 * 32 * 32
    sets = [ImageSet(split, "test", 32, cache_bytes=limit) for limit in (bytes_, bytes_ - 1, 0)]
    for images, times in zip(sets, (1, 1, 2), strict=True):
        before = len(decoded)
        for _ in range(2):
            assert images[3][0].shape == (3, 32, 32)
        assert len(decoded) - before == times
    assert torch.equal(sets[0].stack(), sets[1].stack()) and torch.equal(sets[0].stack(), sets[2].stack())
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_a_set_for_which_the_disk_has_no_room_is_decoded_at_each_visit(faces, decoded, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(images_module.os, "posix_fallocate", full)
    images = ImageSet(Split(faces), "test", 32, cache_bytes=1)
    assert torch.equal(images[3][0], images[3][0])
    assert len(decoded) == 2
    with pytest.raises(OSError, match="no space left"):
        pixel_store((2, 3, 4, 4), memory_bytes=95)
    assert pixel_store((2, 3, 4, 4), memory_bytes=96).shape == (2, 3, 4, 4)


def test_mapped_pixels_are_no_memory_of_the_process():
    """Of 256 MiB that are written, the process itself holds nothing: they are pages of a file."""
    process, size = psutil.Process(), 2**28
    before = process.memory_info()
    pixels = pixel_store((size // 3, 3, 1, 1), memory_bytes=0)
    pixels.fill_(7)
    after = process.memory_info()
    assert int(pixels.view(-1)[-1]) == 7
    assert (after.rss - after.shared) - (before.rss - before.shared) < size // 8


def test_the_images_of_a_batch_are_decoded_side_by_side(faces, monkeypatch):
    wanted = torch.tensor([5, 0, 5, 43])
    one_by_one = torch.stack([ImageSet(Split(faces), "test", 32)[int(index)][0] for index in wanted])
    monkeypatch.setattr(images_module, "DECODERS", 3)
    met, real = threading.Barrier(3), images_module.read_rgb
    monkeypatch.setattr(images_module, "read_rgb", lambda path: (met.wait(timeout=60), real(path))[1])
    assert torch.equal(ImageSet(Split(faces), "test", 32).fetch(wanted), one_by_one)


def test_of_large_images_one_is_decoded_at_a_time(faces, monkeypatch):
    monkeypatch.setattr(images_module, "DECODERS", 4)
    monkeypatch.setattr(decode_module, "LARGE_PIXELS", 0)
    inside, most, real = [], [], decode_module.decode_rgb

    def decode(*words):
        inside.append(None)
        most.append(len(inside))
        time.sleep(0.01)
        image = real(*words)
        inside.pop()
        return image

    monkeypatch.setattr(decode_module, "decode_rgb", decode)
    ImageSet(Split(faces), "test", 32).fetch(torch.arange(8))
    assert most == [1] * 8


def test_both_roles_are_loaded_in_order(faces):
    split = Split(faces)
    pixels, labels, is_test = load_roles(split, 32)
    train, test = (load_images(split, role, 32) for role in ("train", "test"))
    assert torch.equal(pixels, torch.cat([train[0], test[0]]))
    assert torch.equal(labels, torch.cat([train[1], test[1]]))
    assert is_test.tolist() == [False] * len(train[0]) + [True] * len(test[0])


def test_it_works_in_a_loader(faces):
    images = ImageSet(Split(faces), "train", 16)
    generator = torch.Generator().manual_seed(0)
    loader = torch.utils.data.DataLoader(images, batch_size=8, shuffle=True, generator=generator)
    pixels, labels = next(iter(loader))
    assert pixels.shape == (8, 3, 16, 16) and labels.dtype == torch.int64


def test_a_changed_or_broken_image_is_named(faces, tmp_path):
    folder = shutil.copytree(faces, tmp_path / "open-animal-faces")
    split = Split(folder)
    first, second = (folder / row.image for row in split.select("test")[:2])
    second.write_bytes(first.read_bytes())
    with pytest.raises(UserError, match=f"{second.name} does not have the pixels"):
        load_images(split, "test", 32)
    second.write_bytes(first.read_bytes()[:100])
    with pytest.raises(UserError, match=f"{second.name} is a truncated or broken image"):
        ImageSet(split, "test", 32)[1]


def test_an_image_of_another_shape_becomes_a_square(tmp_path, zip_of, folder_dataset, encoded):
    path = zip_of(tmp_path / "a.zip", {f"cat/{n}.png": encoded(n, size=(30, 10)) for n in range(4)})
    make_split(folder_dataset(path), tmp_path, tmp_path / "tiny", progress=False)
    pixels, _ = load_images(Split(tmp_path / "tiny"), "train", 8)
    assert pixels.shape == (3, 3, 8, 8)


def test_wrong_requests_are_one_sentence(faces, tmp_path, zip_of, folder_dataset, encoded):
    with pytest.raises(UserError, match="the size 0"):
        ImageSet(Split(faces), "test", 0)
    path = zip_of(tmp_path / "a.zip", {f"cat/{n}.png": encoded(n) for n in range(3)})
    make_split(folder_dataset(path), tmp_path, tmp_path / "tiny", progress=False)
    with pytest.raises(UserError, match="no image of the role test"):
        load_images(Split(tmp_path / "tiny"), "test", 8)
