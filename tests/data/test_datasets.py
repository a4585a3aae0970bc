"""The datasets that ship: each YAML is valid, its files are the stated ones, the published ones run."""

import re
from collections import Counter
from pathlib import Path

import pytest

from kdx2i.config import load_dataset
from kdx2i.config.models import ExpectedCounts
from kdx2i.data.manifest import read_manifest
from kdx2i.data.readers import build_reader
from kdx2i.data.roles import assign_roles
from kdx2i.data.rows import Split
from kdx2i.data.split import check_split, make_split
from kdx2i.errors import UserError
from kdx2i.files import sha256_file

OPEN = [
    *("animal-faces", "birds", "foods", "faces", "animals", "felid2canid", "cat2dog", "afhq"),
    *("animals-text", "birds-text", "plants-speech", "flowers-speech", "face-parts", "objects"),
]
MANY_CLASS = ("animal-faces", "animals", "birds", "foods", "felid2canid", "cat2dog", "afhq")
PUBLISHED = {
    "animal-faces": ("", ".tar.gz"),
    "birds": ("nabirds/images/", ".tar.gz"),
    "foods": ("UECFOOD256/", ".zip"),
}
WITH_ROLES = {"cat2dog-200": ("", ("train", "test"), (100, 100)), "afhq-500": ("afhq/", ("train", "val"), (100, 500))}


def test_every_stand_in_has_its_file(root):
    names = {path.stem for path in (root / "benchmarks" / "datasets").glob("*.yaml")}
    published = {"cub", "oxford-102", "celebamask-hq", "ffhq", "afhq"}  # test_published_conditions.py
    stand_ins = {f"open-{name}" for name in OPEN}
    assert {name for name in names if not name.startswith("smoke-")} == (
        stand_ins | set(PUBLISHED) | set(WITH_ROLES) | published
    )


@pytest.mark.parametrize("name", [*PUBLISHED, *WITH_ROLES, "cub", "oxford-102", "celebamask-hq"])
def test_a_made_up_set_is_read_as_the_published_one_and_never_taken_for_it(root, name):
    published, made = load_dataset(root, name), load_dataset(root, f"smoke-{name}")
    assert (made.reader, made.task, made.conditions, made.labels) == (
        published.reader, published.task, published.conditions, published.labels
    )  # fmt: skip
    assert (made.split.rule, made.split.disjoint) == (published.split.rule, published.split.disjoint)
    assert {**made.options, "test_classes": None} == {**published.options, "test_classes": None}
    assert made.stands_for is None
    for role, file in made.source.files.items():
        path = Path(str(file.path))
        assert path.parent == Path("data/raw/smoke") and path.name == Path(str(published.source.files[role].path)).name


@pytest.mark.parametrize("name", OPEN)
def test_an_open_dataset_is_pinned_permissive_and_readable(root, name):
    config = load_dataset(root, f"open-{name}")
    assert config.options["share_alike"] is False and config.options["size"] == 64
    assert config.options["background"] == "#ffffff" and config.stands_for
    for file in config.source.files.values():
        assert sha256_file(root / str(file.path)) == file.sha256
    entries = build_reader(config, root).entries()
    roles = assign_roles(entries, config.split)
    assert len(roles) == len(entries) > 0
    if config.split.disjoint:
        train, test = ({e.label for e in entries if roles[e.source] == role} for role in ("train", "test"))
        assert train and test and not train & test
    assert (config.task != "image-to-image") == bool(config.conditions)
    assert f"| open-{name} |" in (root / "docs" / "open-emoji.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OPEN)
def test_the_data_card_has_the_counts(root, name):
    entries = build_reader(load_dataset(root, f"open-{name}"), root).entries()
    train = sum(entry.role == "train" for entry in entries)
    classes = len({entry.label for entry in entries})
    card = (root / "docs" / "open-emoji.md").read_text(encoding="utf-8")
    line = re.search(rf"^\| open-{name} \|.*$", card, re.MULTILINE)
    assert line and [cell.strip() for cell in line[0].split("|")][3:6] == [
        str(classes),
        str(train),
        str(len(entries) - train),
    ]


def test_the_objects_of_a_teacher_share_no_drawing_with_a_test_image(root):
    """Neither by name, nor by pixels, nor by near-duplicate group; every class has a few drawings, each once."""
    config = load_dataset(root, "open-objects")
    entries = build_reader(config, root).entries()
    assert {entry.role for entry in entries} == {"train"}
    assert len({entry.source for entry in entries}) == len(entries)
    ours = {entry.source for entry in entries}
    rows = list(read_manifest(root / str(config.source.files["manifest"].path), None))
    pixels = {row.raster64_md5 for row in rows if row.source in ours}
    for name in MANY_CLASS:
        tests = [e for e in build_reader(load_dataset(root, f"open-{name}"), root).entries() if e.role == "test"]
        sources, groups = {e.source for e in tests}, {e.group for e in tests if e.group}
        assert tests and not ours & sources
        assert not pixels & {row.raster64_md5 for row in rows if row.source in sources}
        assert not ours & {row.source for row in rows if row.standin == name and row.group in groups}
    assert min(Counter(entry.label for entry in entries).values()) >= 3


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_dataset_runs_on_a_tiny_archive_in_its_layout(root, name, tmp_path, tar_of, zip_of, encoded):
    prefix, suffix = PUBLISHED[name]
    members = {
        f"{prefix}{label}/{number}.jpg": encoded(20 * label + number, "JPEG")
        for label in range(3)
        for number in range(20)
    }
    members[f"{prefix}1/boxes.txt"] = members["readme.txt"] = b"1 2 3 4"
    path = (zip_of if suffix == ".zip" else tar_of)(tmp_path / f"archive{suffix}", members)
    config = load_dataset(root, name)
    file = config.source.files["archive"]
    assert file.sha256 is None and file.url and str(file.path).endswith(suffix)
    place = tmp_path / str(file.path)
    place.parent.mkdir(parents=True)
    path.rename(place)
    with pytest.raises(UserError, match=r"gives 3 classes, but \d+ are published .*is it whole\?"):
        make_split(config, tmp_path, tmp_path / name, progress=False)
    config = config.model_copy(update={"expects": ExpectedCounts(classes=3)})
    make_split(config, tmp_path, tmp_path / name, progress=False)
    split = Split(tmp_path / name)
    train = 10 if name == "animal-faces" else 18
    test = 10 if name == "animal-faces" else 2
    assert check_split(config, tmp_path / name) == [] and split.classes == ["0", "1", "2"]
    assert (len(split.select("train")), len(split.select("test"))) == (3 * train, 3 * test)


@pytest.mark.parametrize("name", WITH_ROLES)
def test_a_published_dataset_with_roles_keeps_to_them(root, name, tmp_path, zip_of, encoded):
    prefix, folders, sizes = WITH_ROLES[name]
    members = {
        f"{prefix}{folder}/{label}/{number}.png": encoded(100 * side + 20 * label + number, "PNG")
        for side, folder in enumerate(folders)
        for label in range(2)
        for number in range(6)
    }
    config = load_dataset(root, name)
    assert (config.split.train, config.split.test) == sizes
    smaller = config.split.model_copy(update={"train": 4, "test": 5})
    config = config.model_copy(update={"split": smaller, "expects": ExpectedCounts(classes=2, train=8, test=10)})
    path = tmp_path / str(config.source.files["archive"].path)
    path.parent.mkdir(parents=True)
    zip_of(tmp_path / "archive.zip", members).rename(path)
    make_split(config, tmp_path, tmp_path / name, progress=False)
    split = Split(tmp_path / name)
    for role, folder, count in (("train", folders[0], 4), ("test", folders[1], 5)):
        rows = split.select(role)
        assert len(rows) == 2 * count and all(f"{prefix}{folder}/" in row.source for row in rows)
