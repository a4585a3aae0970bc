"""The sampling rules: disjoint, complete, grouped, and the same everywhere for a seed."""

import hashlib
import json
import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdx2i.config import SplitRule
from kdx2i.data.reader import Entry
from kdx2i.data.roles import assign_roles
from kdx2i.errors import UserError

SEEDS = st.integers(0, 2**40)
SIZES = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 30), min_size=1, max_size=6)


def images(sizes, group=lambda label, number: ""):
    return [
        Entry(label, str(number), f"{label}/{number}", group(label, number))
        for label, size in sizes.items()
        for number in range(size)
    ]


def counted(entries, roles):
    return Counter((entry.label, roles[entry.source]) for entry in entries if entry.source in roles)


@given(SIZES, SEEDS, st.integers(0, 10))
def test_per_class_gives_exact_counts_in_any_order_of_the_source(sizes, seed, train):
    train = min([train, *sizes.values()])
    rule = SplitRule(rule="per-class", train=train, seed=seed)
    entries = images(sizes)
    roles = assign_roles(entries, rule)
    counts = counted(entries, roles)
    for label, size in sizes.items():
        assert (counts[label, "train"], counts[label, "test"]) == (train, size - train)
    shuffled = entries[:]
    random.Random(seed).shuffle(shuffled)
    assert assign_roles(shuffled, rule) == roles


@given(SIZES, SEEDS, st.integers(1, 5), st.integers(1, 5))
def test_per_class_leaves_out_what_is_not_asked_for(sizes, seed, train, test):
    sizes = {label: size + train + test for label, size in sizes.items()}
    entries = images(sizes)
    rule = SplitRule(rule="per-class", train=train, test=test, seed=seed)
    counts = counted(entries, assign_roles(entries, rule))
    assert all((counts[label, "train"], counts[label, "test"]) == (train, test) for label in sizes)


@given(SIZES, SEEDS, st.floats(0, 1))
def test_fraction_rounds_each_class_and_uses_every_image(sizes, seed, share):
    entries = images(sizes)
    counts = counted(entries, assign_roles(entries, SplitRule(rule="fraction", train=share, seed=seed)))
    for label, size in sizes.items():
        assert abs(counts[label, "train"] - size * share) <= 0.5
        assert counts[label, "train"] + counts[label, "test"] == size


@given(SIZES, SEEDS, st.integers(1, 6), st.sampled_from(["per-class", "fraction"]))
def test_groups_stay_whole_and_quotas_hold(sizes, seed, spread, rule):
    # Groups of up to six images, some of which span all classes.
    entries = images(sizes, lambda label, number: f"g{number // spread}" if number % 2 else "")
    train = min(sizes.values()) if rule == "per-class" else 0.5
    try:
        roles = assign_roles(entries, SplitRule(rule=rule, train=train, seed=seed))
    except UserError as error:
        assert "gets no training image" in str(error)
        return
    sides = defaultdict(set)
    for entry in entries:
        if entry.group:
            sides[entry.group].add(roles.get(entry.source))
    assert all(len(side) == 1 for side in sides.values())
    counts = counted(entries, roles)
    for label, size in sizes.items():
        assert counts[label, "train"] <= (train if rule == "per-class" else size * train + 0.5)


def test_seeds_differ():
    entries = images({"cat": 20, "dog": 20})
    chosen = {
        json.dumps(sorted(assign_roles(entries, SplitRule(rule="per-class", train=5, seed=seed)).items()))
        for seed in range(20)
    }
    assert len(chosen) == 20


def test_the_same_seed_gives_the_same_roles_on_every_machine():
    """The digest was written down once: it may never change."""
    entries = images({"cat": 9, "dog": 7}, lambda label, number: f"g{label}{number // 3}" if number > 4 else "")
    roles = assign_roles(entries, SplitRule(rule="fraction", train=0.6, test=0.3, seed=7))
    text = json.dumps(sorted(roles.items()))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "e44fd2d067db4aff"


def test_a_class_that_is_too_small_is_named():
    entries = images({"cat": 12, "dog": 4})
    with pytest.raises(UserError, match="class 'dog' has 4 images, but the split rule asks for 5 to train"):
        assign_roles(entries, SplitRule(rule="per-class", train=5))
    with pytest.raises(UserError, match="asks for 3 to train and 2 to test"):
        assign_roles(entries, SplitRule(rule="per-class", train=3, test=2))


def test_a_class_of_copies_is_named():
    entries = images({"cat": 4, "dog": 4}, lambda label, _: "copies" if label == "dog" else "")
    with pytest.raises(UserError, match="class 'dog' gets no training image"):
        assign_roles(entries, SplitRule(rule="per-class", train=2))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "no image"),
        ([Entry("a", "0", "x"), Entry("b", "1", "x")], "lists 'x' twice"),
        ([Entry("a", "0", "x")], "states none for 'x'"),
        (
            [Entry("a", "0", "x", "g", "train"), Entry("a", "1", "y", "g", "test")],
            "the group g stands in both train and test",
        ),
    ],
)
def test_a_broken_list_is_one_sentence(entries, message):
    with pytest.raises(UserError, match=message):
        assign_roles(entries, SplitRule(rule="manifest"))


def test_manifest_takes_the_stated_roles():
    entries = [Entry("a", "0", "x", "g", "train"), Entry("a", "1", "y", "", "test")]
    assert assign_roles(entries, SplitRule(rule="manifest")) == {"x": "train", "y": "test"}
