"""The list of translation requests: complete, fair, without held-out references, the same for every method."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.errors import UserError
from kdx2i.tasks.scoring.translation_requests import draw_directed, draw_repeats, draw_requests

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def splits(draw):
    """Labels and roles of two to five classes, each with training images; test images are optional."""
    classes = draw(st.integers(2, 5))
    labels, is_test = [], []
    for label in range(classes):
        for role, least in ((False, 1), (True, 0)):
            count = draw(st.integers(least, 4))
            labels += [label] * count
            is_test += [role] * count
    order = draw(st.permutations(range(len(labels))))
    return torch.tensor(labels)[list(order)], torch.tensor(is_test)[list(order)], classes


@PROPERTY
@given(splits(), st.integers(1, 12), st.integers(0, 2**40))
def test_every_class_gets_its_share_from_the_right_images(split, per_class, seed):
    labels, is_test, classes = split
    requests = draw_requests(labels, is_test, classes, per_class, seed)
    assert torch.bincount(requests.targets, minlength=classes).tolist() == [per_class] * classes
    assert torch.equal(labels[requests.references], requests.targets)
    assert not is_test[requests.references].any()
    assert bool((labels[requests.sources] != requests.targets).all())
    for target in range(classes):
        of_target = requests.targets == target
        from_test = is_test[requests.sources[of_target]]
        assert bool(from_test.all()) == bool((is_test & (labels != target)).any())
        for chosen, pool in (
            (requests.sources[of_target], labels != target),
            (requests.references[of_target], labels == target),
        ):
            counts = torch.bincount(chosen, minlength=len(labels))
            used = counts[pool & (counts > 0)]
            assert int(used.max() - used.min()) <= 1
            if per_class <= len(used):
                assert int(used.max()) == 1


@PROPERTY
@given(splits(), st.integers(0, 2**40))
def test_nothing_repeats_before_all_were_used(split, seed):
    labels, is_test, classes = split
    own = [int(((labels == target) & ~is_test).sum()) for target in range(classes)]
    requests = draw_requests(labels, is_test, classes, max(own), seed)
    for target in range(classes):
        references = requests.references[requests.targets == target][: own[target]]
        assert len(set(references.tolist())) == own[target]


def test_requests_are_a_function_of_the_seed_alone():
    labels, is_test = torch.arange(30) % 3, torch.arange(30) >= 15
    torch.manual_seed(1)
    first = draw_requests(labels, is_test, 3, 10, 7)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = draw_requests(labels, is_test, 3, 10, 7)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.sources, again.sources)
    assert torch.equal(first.references, again.references)
    other = draw_requests(labels, is_test, 3, 10, 8)
    assert not torch.equal(first.sources, other.sources)


@pytest.mark.parametrize(
    ("labels", "is_test", "classes"),
    [([0, 0, 1], [False, True, True], 2), ([0, 0], [False, False], 1), ([0, 0], [False, False], 2)],
)
def test_split_that_cannot_serve_is_refused(labels, is_test, classes):
    with pytest.raises(UserError, match="class"):
        draw_requests(torch.tensor(labels), torch.tensor(is_test), classes, 2, 0)


def test_repeats_keep_source_and_target_and_change_the_reference():
    labels, is_test = torch.arange(40) % 4, torch.arange(40) >= 24
    repeats = draw_repeats(labels, is_test, 4, sources=3, outputs=6, seed=1)
    assert len(repeats.targets) == 18
    for part in range(3):
        rows = slice(6 * part, 6 * part + 6)
        assert len(repeats.sources[rows].unique()) == len(repeats.targets[rows].unique()) == 1
        references = repeats.references[rows]
        assert len(references.unique()) == 6
        assert not is_test[references].any()
        assert (labels[references] == repeats.targets[rows]).all()


def test_with_a_source_for_each_pair_every_test_image_is_asked_for_every_other_class():
    labels, is_test = torch.arange(30) % 3, torch.arange(30) >= 15
    repeats = draw_repeats(labels, is_test, 3, sources=30, outputs=2, seed=0)
    pairs = set(zip(repeats.sources.tolist(), repeats.targets.tolist(), strict=True))
    all_pairs = {(i, c) for i in range(15, 30) for c in range(3) if c != i % 3}
    assert pairs == all_pairs
    assert len(repeats.targets) == 60


@PROPERTY
@given(splits(), st.integers(1, 12), st.integers(0, 2**40))
def test_one_direction_goes_from_its_source_class_to_its_target_class(split, count, seed):
    labels, is_test, _ = split
    requests = draw_directed(labels, is_test, 1, 0, count, seed)
    assert requests.targets.tolist() == [0] * count
    assert labels[requests.sources].tolist() == [1] * count
    assert labels[requests.references].tolist() == [0] * count
    assert not is_test[requests.references].any()
    held_out = bool((is_test & (labels == 1)).any())
    assert bool(is_test[requests.sources].all()) == held_out
