"""Wrong and similar images beside the ones that are drawn, for methods that compare them."""

import pytest
import spoken
import torch

from kdx2i.errors import UserError
from kdx2i.training import distributed


def labels_of(task, images):
    """Return the class of each image uint8 [B, 3, R, R] and the images' numbers."""
    numbers = [next(n for n, other in enumerate(task.images) if torch.equal(image, other)) for image in images]
    return numbers, [task.rows[number].label for number in numbers]


@pytest.mark.parametrize("always", [False, True])
def test_similar_images_share_the_class_and_wrong_ones_mostly_do_not(always):
    data = spoken.paired(8)
    drawn = data.draw_related(300, always_other_class=always)
    (own, own_labels), (wrong, wrong_labels), (similar, similar_labels) = (
        labels_of(data.task, images) for images in (drawn.images, drawn.wrong, drawn.similar)
    )
    assert similar_labels == own_labels and all(a != b for a, b in zip(own, similar, strict=True))
    assert not {"green"} & {*own_labels, *wrong_labels}
    same = sum(a == b for a, b in zip(own_labels, wrong_labels, strict=True)) / 300
    # A third of the first draws, and a third of the second ones that replace them.
    assert same == 0 if always else 0.05 < same < 0.18
    assert len(set(similar)) == len(set(wrong)) == len(set(own)) == 12
    for number, waveform in zip(own, drawn.condition.waveforms, strict=True):
        own_tones = [data.task.given(torch.tensor([number]), torch.tensor([d]), None, spoken.CPU) for d in (0.1, 0.9)]
        assert any(torch.equal(waveform, said.waveforms[0]) for said in own_tones)


def test_a_class_of_one_image_has_itself_beside_it_and_other_classes_must_exist():
    data = spoken.paired(8)
    data.task.is_test = torch.ones(16, dtype=torch.bool)
    data.task.is_test[3] = False
    drawn = data.draw_related(2)
    assert torch.equal(drawn.similar, drawn.images)
    with pytest.raises(UserError, match="all training images are of one class"):
        data.draw_related(2, always_other_class=True)


def test_ranks_share_a_joint_batch(monkeypatch):
    data = spoken.paired(8)
    torch.manual_seed(3)
    whole = data.draw_related(6)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        torch.manual_seed(3)
        part, share = data.draw_related(6), slice(3 * rank, 3 * rank + 3)
        for name in ("images", "wrong", "similar"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[share])
        pairs = zip(part.condition.waveforms, whole.condition.waveforms[share], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
