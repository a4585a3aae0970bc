"""The manifest that ships says what the data card says, and keeps groups on one side."""

import shutil
from collections import Counter, defaultdict

import pytest

from kdx2i.data.manifest import read_manifest
from kdx2i.data.pack import read_icons
from kdx2i.errors import UserError

CORE = {
    "animal-faces": (20, 114, 44),
    "birds": (8, 47, 18),
    "foods": (62, 374, 117),
    "animals": (58, 331, 125),
    "cat2dog": (2, 70, 45),
    "felid2canid": (2, 71, 36),
    "afhq": (3, 107, 63),
    "face-parts": (69, 307, 125),
    "faces": (3, 4768, 0),
}
BOTH_TIERS = {
    "birds-text": (20, 98, 23),
    "animals-text": (122, 631, 144),
    "plants-speech": (62, 328, 79),
    "flowers-speech": (24, 137, 37),
    "birds": (20, 90, 31),
}


@pytest.fixture(scope="module")
def folder(root):
    return root / "benchmarks" / "datasets" / "open_emoji"


@pytest.fixture(scope="module")
def rows(folder):
    return list(read_manifest(folder / "manifest.csv", None))


@pytest.mark.parametrize(
    ("standin", "tiers", "expected"),
    [(name, {"core"}, counts) for name, counts in CORE.items()]
    + [(name, {"core", "wide"}, counts) for name, counts in BOTH_TIERS.items()],
)
def test_permissive_counts_are_those_of_the_data_card(rows, standin, tiers, expected):
    chosen = [row for row in rows if row.standin == standin and row.tier in tiers and not row.share_alike]
    roles = Counter(row.role for row in chosen)
    assert (len({row.label for row in chosen}), roles["train"], roles["test"]) == expected


def test_groups_never_straddle_and_drawings_stand_once(rows):
    roles = defaultdict(set)
    for row in rows:
        if row.group:
            roles[row.standin, row.group].add(row.role)
    assert len(roles) > 1000 and all(len(sides) == 1 for sides in roles.values())
    assert max(Counter((row.standin, row.source) for row in rows).values()) == 1


def test_text_and_speech_classes_are_disjoint(rows):
    for standin in ("birds-text", "animals-text", "plants-speech", "flowers-speech"):
        sides = {
            role: {row.label for row in rows if (row.standin, row.role) == (standin, role)}
            for role in ("train", "test")
        }
        assert sides["train"] and sides["test"] and not sides["train"] & sides["test"]


def test_house_splits_have_whole_houses_in_test(rows):
    for standin in ("cat2dog", "felid2canid", "afhq", "face-parts"):
        sides = defaultdict(set)
        for row in rows:
            if row.standin == standin and not row.share_alike:
                sides[row.role].add(row.family)
        assert sides["test"] <= {"twitter", "emojione2", "streamline"}
        assert not sides["train"] & sides["test"]


def test_every_row_has_its_drawing_in_the_pack_of_its_licence(folder, rows):
    share_alike = {row.source for row in rows if row.share_alike}
    assert {row.licence for row in rows if row.share_alike} == {"CC-BY-SA-4.0"}
    assert {row.licence for row in rows if not row.share_alike} == {"Apache-2.0", "MIT", "CC-BY-4.0"}
    assert {icon.source for icon in read_icons(folder / "icons-sa.jsonl.xz", None)} == share_alike
    others = {icon.source for icon in read_icons(folder / "icons.jsonl.xz", None)}
    assert others == {row.source for row in rows if not row.share_alike} and len(others) == 6546


def test_captions_are_ten_where_the_stand_in_needs_them(rows):
    for row in rows:
        if row.standin.endswith(("-text", "-speech")):
            assert len(row.captions) == 10 and all(row.captions)


@pytest.mark.parametrize(
    ("old", "new"),
    [(",train,", ",validation,"), ("standin,split", "standin,role"), (",0,", ",yes,"), ('"[', '"')],
)
def test_a_changed_manifest_is_refused(folder, tmp_path, old, new):
    path = tmp_path / "manifest.csv"
    text = (folder / "manifest.csv").read_text(encoding="utf-8")
    path.write_text(text[:20_000].rpartition("\n")[0].replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=r"manifest\.csv"):
        list(read_manifest(path, None))


def test_the_checksum_of_the_manifest_is_compared(folder, tmp_path):
    path = shutil.copy(folder / "manifest.csv", tmp_path / "manifest.csv")
    with pytest.raises(UserError, match="SHA-256 differs"):
        next(read_manifest(path, "0" * 64))
