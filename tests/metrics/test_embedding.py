"""One pass to features: the same bits in any company, found again by content, in bounded memory."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from kdx2i.metrics.extractors.extractor import Extractor, build_extractor, extract
from kdx2i.metrics.extractors.networks import ImageFeatures
from kdx2i.metrics.images import embedding, stored_matrix
from kdx2i.metrics.images.embedding import embed, pixels_sha256
from kdx2i.metrics.images.stored_matrix import StoredMatrix
from kdx2i.metrics.images.streams import TensorImages, open_images


def in_memory(images: Tensor) -> TensorImages:
    return TensorImages(images, torch.zeros(len(images), dtype=torch.int64))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the number of images of every forward pass."""
    embedded: list[int] = []
    forward = ImageFeatures.forward

    def counted(self: ImageFeatures, images: Tensor) -> tuple[Tensor, ...]:
        embedded.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(ImageFeatures, "forward", counted)
    return embedded


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return build_extractor("efficientnet-lite0", input_size=32)


def test_features_and_logits_are_those_of_the_network(lite0: Extractor, images: object) -> None:
    pictures = images(21, 40, 0)  # type: ignore[operator]
    (embedded,) = embed(in_memory(pictures), [lite0], logits=True)
    assert embedded.logits is not None and (embedded.features.shape, embedded.logits.shape) == ((21, 1280), (21, 1000))
    assert torch.equal(embedded.features[:], extract(lite0, pictures))
    features, logits = lite0.outputs(pictures)
    assert torch.equal(embedded.features[:], features) and torch.equal(embedded.logits[:], logits)
    assert embed(in_memory(pictures), [lite0])[0].logits is None


def test_two_extractors_share_one_pass(extractor: Extractor, lite0: Extractor, images: object) -> None:
    pictures = images(19, 40, 0)  # type: ignore[operator]
    reads: list[int] = []
    done: list[int] = []

    class Counted(TensorImages):
        def blocks(self, size: int):  # type: ignore[no-untyped-def]
            for start, block in super().blocks(size):
                reads.append(len(block))
                yield start, block

    both = embed(Counted(pictures, torch.zeros(19)), [extractor, lite0], logits=True, progress=done.append)
    assert sum(reads) == sum(done) == 19
    for alone, embedded in zip((extractor, lite0), both, strict=True):
        (expected,) = embed(in_memory(pictures), [alone], logits=True)
        assert torch.equal(embedded.features[:], expected.features[:])
        assert embedded.content_sha256 == expected.content_sha256
    assert both[0].logits is None and both[1].logits is not None  # the first network has no logits


@pytest.mark.parametrize("block", [1, 5, 64])
def test_no_bit_depends_on_order_company_or_blocks(
    lite0: Extractor, images: object, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_BLOCK", block)
    small, large = images(9, 24, 1), images(12, 56, 2)  # type: ignore[operator]
    mixed = [image for pair in zip(small, large, strict=False) for image in pair]
    embedded = lite0.outputs(mixed)[0]
    assert torch.equal(embedded[::2], embed(in_memory(small), [lite0])[0].features[:])
    assert torch.equal(embedded[1::2], embed(in_memory(large[:9]), [lite0])[0].features[:])
    plain = build_extractor("tests-plain")  # a library's own: batches of one size
    embedded = plain.outputs(mixed)[0]
    assert torch.equal(embedded[::2], plain(small)) and torch.equal(embedded[1::2], plain(large)[:9])
    order = torch.randperm(9)
    assert torch.equal(plain(small[order]), plain(small)[order])


def test_found_again_by_content(extractor: Extractor, images: object, calls: list[int], tmp_path: Path) -> None:
    pictures, cache = images(20, 32, 0), tmp_path / "cache"  # type: ignore[operator]
    for folder, kind in (("first", "png"), ("second", "bmp")):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(pictures):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / folder / f"{folder}{number:02}.{kind}")
    (first,) = embed(open_images(tmp_path / "first"), [extractor], folder=cache)
    assert sum(calls) == 20
    (second,) = embed(open_images(tmp_path / "second"), [extractor], folder=cache)  # other names, another format
    assert sum(calls) == 20 and torch.equal(first.features[:], second.features[:])
    assert first.content_sha256 == second.content_sha256
    part = embed(in_memory(pictures[[3, 1]]), [extractor], folder=cache)[0]  # a subset in another order
    assert sum(calls) == 20 and torch.equal(part.features[:], first.features.take(torch.tensor([3, 1])))
    changed = pictures.clone()
    changed[5, 0, 0, 0] ^= 1
    other = embed(in_memory(changed), [extractor], folder=cache)[0]
    assert sum(calls) == 21 and other.content_sha256 != first.content_sha256
    assert embed(in_memory(changed), [extractor], folder=cache)[0].content_sha256 == other.content_sha256
    assert sum(calls) == 21 and len(list(cache.iterdir())) == 2


def test_another_extractor_has_its_own_features(images: object, calls: list[int], tmp_path: Path) -> None:
    pictures = images(4, 32, 0)  # type: ignore[operator]
    for preprocessing in ("clean", "tf1", "clean"):
        embedded = build_extractor("efficientnet-lite0", preprocessing=preprocessing, input_size=32)  # type: ignore[arg-type]
        embed(in_memory(pictures), [embedded], folder=tmp_path)
    assert sum(calls) == 8


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "empty"])
def test_a_damaged_pack_is_made_again(
    damage: str, extractor: Extractor, images: object, calls: list[int], tmp_path: Path
) -> None:
    pictures = images(9, 32, 0)  # type: ignore[operator]
    (first,) = embed(in_memory(pictures), [extractor], folder=tmp_path)
    (pack,) = tmp_path.iterdir()
    whole = pack.read_bytes()
    broken = {
        "cut": whole[:-4],
        "flip": whole[:-1] + bytes([whole[-1] ^ 1]),
        "header": whole.replace(b'"U8"', b'"X8"'),
        "empty": b"",
    }
    pack.write_bytes(broken[damage])
    assert torch.equal(embed(in_memory(pictures), [extractor], folder=tmp_path)[0].features[:], first.features[:])
    assert sum(calls) == 18 and pack.read_bytes() == whole


def test_nothing_in_nothing_out(lite0: Extractor, tmp_path: Path) -> None:
    none = in_memory(torch.zeros(0, 3, 8, 8, dtype=torch.uint8))
    (embedded,) = embed(none, [lite0], logits=True, folder=tmp_path)
    assert embedded.features.shape == (0, 1280) and embedded.features[:].shape == (0, 1280)
    assert not list(tmp_path.iterdir())


def test_large_features_lie_in_a_file(
    extractor: Extractor, images: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pictures = images(40, 32, 0)  # type: ignore[operator]
    (expected,) = embed(in_memory(pictures), [extractor])
    monkeypatch.setattr(stored_matrix, "MEMORY_BYTES", 500)
    for folder in (None, tmp_path, tmp_path):  # the last from the store
        (embedded,) = embed(in_memory(pictures), [extractor], folder=folder)
        assert embedded.features._memory is None
        assert torch.equal(embedded.features[3:17], expected.features[3:17])
        assert torch.equal(embedded.features[:], expected.features[:])
    assert len(list(tmp_path.iterdir())) == 1  # the store's pack: the matrix itself has no name


@pytest.mark.parametrize("limit", [0, 10**6])
def test_rows(limit: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stored_matrix, "MEMORY_BYTES", limit)
    values = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
    embedded = StoredMatrix.blank((11, 3), tmp_path)
    order = torch.randperm(11)
    for part in order.split(4):
        embedded.put(part, values[part])
    assert embedded.shape == (11, 3) and len(embedded) == 11
    assert (
        torch.equal(embedded[:], values) and torch.equal(embedded[2:5], values[2:5]) and embedded[7:99].shape == (4, 3)
    )
    assert embedded[5:2].shape == (0, 3) and torch.equal(embedded[-2:], values[-2:])
    assert torch.equal(embedded.take(order), values[order])
    assert torch.equal(embedded.take(values[:, 0] > 0), values[values[:, 0] > 0])
    with pytest.raises(ValueError, match="step 1"):
        embedded[::2]
    with pytest.raises(IndexError):
        embedded.take(torch.tensor([11]))


def test_the_hash_of_pixels_is_that_of_the_manifests(images: object) -> None:
    from kdx2i.data.decode import pixels_sha256 as manifest_hash

    image = images(1, 20, 0)[0, :, :13]  # type: ignore[operator]
    assert pixels_sha256(image).hex() == manifest_hash(Image.fromarray(image.permute(1, 2, 0).numpy()))
