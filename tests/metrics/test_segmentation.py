"""mIoU: bookkeeping, label orders, and the public face parser."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.segmentation.bisenet import INPUT_SIZE, VARIABLE, BiSeNet, load_face_parser
from kdx2i.metrics.segmentation.label_orders import CELEBAMASK_HQ, FACE_PARSING, LEFT_RIGHT, paint, relabelled
from kdx2i.metrics.segmentation.mean_iou import at_size, confusion_matrix, mean_iou, merged, segmentation_entry

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))


def random_maps(shape: tuple[int, ...], classes: int, seed: int) -> Tensor:
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


class Painter:
    """A segmenter that reads the map from the red channel."""

    name, sha256 = "painter", "0" * 64

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes

    def segment(self, images: Tensor) -> Tensor:
        return images[:, 0]


def pictures(maps: Tensor) -> Tensor:
    return maps[:, None].expand(-1, 3, -1, -1).contiguous()


@given(SHAPES, st.integers(1, 6), st.integers(0, 10**6))
def test_equal_maps_score_100(shape, classes, seed) -> None:
    maps = random_maps(shape, classes, seed)
    assert mean_iou(confusion_matrix(maps, maps, classes)).value == 100.0


@given(SHAPES, st.integers(2, 6), st.integers(0, 10**6))
def test_bookkeeping_by_definition(shape, classes, seed) -> None:
    result, target = random_maps(shape, classes, seed), random_maps(shape, classes, seed + 1)
    confusion = confusion_matrix(result, target, classes)
    assert int(confusion.sum()) == target.numel()
    ious = []
    for label in range(classes):
        union = int(((result == label) | (target == label)).sum())
        hit = int(((result == label) & (target == label)).sum())
        ious.append(100.0 * hit / union if union else None)
    assert mean_iou(confusion).per_class == pytest.approx(ious)
    present = [iou for iou in ious if iou is not None]
    assert mean_iou(confusion).value == pytest.approx(sum(present) / len(present))
    everything = sum(iou or 0.0 for iou in ious) / classes
    assert mean_iou(confusion, absent="zero").value == pytest.approx(everything)
    known = [iou for label, iou in enumerate(ious) if bool((target == label).any())]
    assert mean_iou(confusion, absent="target").value == pytest.approx(sum(known) / len(known))
    front = [iou for iou in ious[1:] if iou is not None]
    without = mean_iou(confusion, background=False)
    assert without.value == (pytest.approx(sum(front) / len(front)) if front else None)
    assert without.per_class[0] is None
    # A union is symmetric; renaming the classes renames the results.
    assert mean_iou(confusion.T).value == pytest.approx(mean_iou(confusion).value)
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(seed))
    renamed = confusion_matrix(order[result.long()], order[target.long()], classes)
    assert [mean_iou(renamed).per_class[i] for i in order] == pytest.approx(ious)


@given(st.integers(1, 4), st.integers(0, 10**6))
def test_matrices_of_parts_add_up(count, seed) -> None:
    result, target = random_maps((count, 5, 5), 4, seed), random_maps((count, 5, 5), 4, seed + 1)
    parts = [confusion_matrix(one, other, 4) for one, other in zip(result, target, strict=True)]
    assert torch.equal(sum(parts), confusion_matrix(result, target, 4))


def test_a_mask_fed_as_prediction_scores_100_in_either_numbering() -> None:
    maps = torch.arange(19, dtype=torch.uint8).repeat(2, 3)[None, :, :].expand(2, -1, -1).contiguous()
    renumbered = relabelled(maps, CELEBAMASK_HQ, FACE_PARSING).to(torch.uint8)
    entry = segmentation_entry(pictures(renumbered), maps, CELEBAMASK_HQ, Painter(FACE_PARSING), same=LEFT_RIGHT)
    assert entry["value"] == entry["merged_value"] == entry["pixel_accuracy"] == 100.0
    assert entry["standard_error"] == 0.0
    assert list(entry["per_class"]) == list(FACE_PARSING)
    # Without the renumbering only the four shared numbers agree.
    wrong = segmentation_entry(pictures(maps), maps, CELEBAMASK_HQ, Painter(FACE_PARSING))
    assert wrong["value"] == pytest.approx(100.0 * 4 / 19)
    assert torch.equal(relabelled(renumbered, FACE_PARSING, CELEBAMASK_HQ), maps.long())


def test_sides_may_be_merged() -> None:
    result, target = torch.tensor([[4, 5, 1, 8]]), torch.tensor([[5, 4, 1, 7]])
    confusion = confusion_matrix(result, target, 19)
    fewer, names = merged(confusion, FACE_PARSING, LEFT_RIGHT)
    assert (len(names), int(fewer.sum())) == (16, 4)
    assert mean_iou(fewer).value == 100.0 > mean_iou(confusion).value


def test_common_classes_are_those_of_half_of_the_maps() -> None:
    """Class `c` is in one map of three, and missed there: it halves nothing of what is common."""
    maps = torch.tensor([[[0, 1]], [[0, 1]], [[1, 2]]], dtype=torch.uint8)
    result = torch.tensor([[[0, 1]], [[0, 1]], [[1, 1]]], dtype=torch.uint8)
    painter = Painter(("a", "b", "c"))
    entry = segmentation_entry(pictures(result), maps, painter.classes, painter)
    assert entry["common"]["classes"] == ["a", "b"]
    assert entry["common"]["value"] == pytest.approx((100 + 75) / 2)
    assert entry["value"] == pytest.approx((100 + 75 + 0) / 3)
    assert entry["common"]["standard_error"] < entry["standard_error"]


def test_painting_orders_differ_where_parts_overlap() -> None:
    masks = {"hair": torch.tensor([[True, True, False]]), "neck": torch.tensor([[False, True, True]])}
    names = [[order[n] for n in paint(masks, order)[0]] for order in (CELEBAMASK_HQ, FACE_PARSING)]
    assert names == [["hair", "neck", "neck"], ["hair", "hair", "neck"]]


def test_the_comparison_is_at_the_stated_resolution() -> None:
    maps = random_maps((3, 8, 8), 3, 0)
    coarse = at_size(maps, 4)
    assert torch.equal(coarse, maps[:, 1::2, 1::2])
    assert torch.equal(at_size(maps, 16)[:, ::2, ::2], maps)
    painter = Painter(("background", "a", "b"))
    entry = segmentation_entry(pictures(coarse), maps, painter.classes, painter)
    assert (entry["value"], entry["n_generated"]) == (100.0, 3)
    fine = segmentation_entry(pictures(coarse), maps, painter.classes, painter, resolution=8, batch=2)
    assert fine["value"] < 100.0
    assert fine["resolution"] == 8


def test_the_standard_error_is_that_of_new_images() -> None:
    generator = torch.Generator().manual_seed(0)
    target = random_maps((4000, 4, 4), 3, 1)
    wrong = (torch.rand(target.shape, generator=generator) < torch.rand(4000, 1, 1, generator=generator) / 2).to(
        torch.uint8
    )
    result = (target + wrong) % 3
    painter = Painter(("background", "a", "b"))
    entries = [
        segmentation_entry(pictures(result[start : start + 50]), target[start : start + 50], painter.classes, painter)
        for start in range(0, 4000, 50)
    ]
    values = torch.tensor([entry["value"] for entry in entries])
    stated = sum(entry["standard_error"] for entry in entries) / len(entries)
    # The deviation of 80 draws is known to about 8 %.
    assert stated == pytest.approx(float(values.std()), rel=0.3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[Path, BiSeNet]:
    torch.manual_seed(0)
    network = BiSeNet().eval()
    path = tmp_path_factory.mktemp("bisenet") / "79999_iter.pth"
    torch.save(network.state_dict(), path)
    return path, network


def test_official_weights_load_and_the_parser_follows_its_script(weights, monkeypatch) -> None:
    path, network = weights
    monkeypatch.setenv(VARIABLE, str(path))
    parser = load_face_parser()
    assert sum(p.numel() for p in network.parameters()) == 13_300_416
    images = torch.randint(0, 256, (1, 3, INPUT_SIZE, INPUT_SIZE), dtype=torch.uint8)
    result = parser.segment(images)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images / 255.0 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    with torch.no_grad():
        logits = network(x)[0]
    chosen = logits.gather(1, result[:, None].long())
    assert float((logits.max(1, keepdim=True).values - chosen).max()) < 1e-4
    assert (result.dtype, result.shape) == (torch.uint8, (1, 512, 512))


def test_wrong_input_is_one_sentence(weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError, match=r"not on this machine; download 79999_iter\.pth"):
        load_face_parser()
    with pytest.raises(UserError, match="cannot be read"):
        load_face_parser(tmp_path / "none.pth")
    path = tmp_path / "other.pth"
    for content in ({"a": torch.zeros(1)}, BiSeNet(4).state_dict(), [1], math.inf):
        torch.save(content, path)
        with pytest.raises(UserError, match="does not hold the weights"):
            load_face_parser(path)
    path.write_bytes(weights[0].read_bytes()[:1000])
    with pytest.raises(UserError, match="does not hold the weights"):
        load_face_parser(path)
    maps = random_maps((2, 4, 4), 3, 0)
    with pytest.raises(UserError, match="differ in shape"):
        confusion_matrix(maps, maps[:1], 3)
    with pytest.raises(UserError, match=r"labels of the target must lie in 0 \.\. 1"):
        confusion_matrix(maps.clamp_max(1), maps, 2)
    painter = Painter(("background", "a", "b"))
    with pytest.raises(UserError, match="same classes: b, c"):
        segmentation_entry(pictures(maps), maps, ("background", "a", "c"), painter)
    with pytest.raises(UserError, match="one label map for each image"):
        segmentation_entry(pictures(maps), maps[:1], painter.classes, painter)
    with pytest.raises(UserError, match=r"must hold 0 \.\. 2"):
        segmentation_entry(pictures(maps), maps + 1, painter.classes, painter)
    empty = segmentation_entry(pictures(maps * 0), maps * 0, painter.classes, painter, background=False)
    assert empty["value"] is None
    assert "no class" in empty["reason"]
