"""Which files of a folder are its images: none is dropped without a word, and what is missing is said."""

import os
import unicodedata
import zipfile
from pathlib import Path

import pytest

from kdx2i.errors import UserError
from kdx2i.metrics.images.listing import list_images


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".pgm", ".pbm", ".pnm", ".Tiff"])
def test_endings_in_use_are_images(suffix: str, tmp_path: Path) -> None:
    assert list_images(touch(tmp_path, f"a{suffix}", "b.png")).names == [f"a{suffix}", "b.png"]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_left_out_is_counted_and_named(kind: str, tmp_path: Path) -> None:
    strange = [f"q{number}.gif" for number in range(7)] + [".hidden.png", "notes.txt"]
    place = touch(tmp_path / "set", "p.png", *strange, ".DS_Store", "__MACOSX/._p.png", "Thumbs.db")
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in place.rglob("*"):
                archive.write(path, path.relative_to(place))
        place = tmp_path / "set.zip"
    listing = list_images(place)
    assert listing.names == ["p.png"]
    described = listing.left_out.describe()
    assert described["files"] == 9
    assert described["suffixes"] == {".gif": 7, ".png": 1, ".txt": 1}
    assert described["first"] == [".hidden.png", "notes.txt", "q0.gif", "q1.gif", "q2.gif"]


def test_a_folder_without_images_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no image .*, but a0\.avif, .*a4\.avif and 2 more$"):
        list_images(touch(tmp_path, *(f"a{number}.avif" for number in range(7))))


def test_links_to_images_and_to_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "store", "a.png", "b.png")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "x.png").symlink_to("../store/a.png")
    (tmp_path / "classes").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "classes" / name).symlink_to("../store")
    assert list_images(tmp_path / "flat").names == ["x.png"]
    assert list_images(tmp_path / "classes").classes == ["cat", "dog"]


@pytest.mark.parametrize("name", ["q0.png", "q0.JPG", "dog"])
def test_a_link_that_leads_nowhere_is_refused(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "p.png")
    (tmp_path / name).symlink_to("/nowhere/0")
    with pytest.raises(UserError, match=rf"{name} is a link to /nowhere/0, where there is nothing to read: mend"):
        list_images(tmp_path)
    (tmp_path / f"r{name}").symlink_to("/nowhere/1")
    with pytest.raises(UserError, match=r"\(2 such files\)"):
        list_images(tmp_path)


def test_a_broken_link_of_another_kind_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "p.png")
    (tmp_path / "latest.log").symlink_to("/nowhere")
    assert list_images(tmp_path).left_out.names == ["latest.log"]


def test_circles_of_links_are_one_sentence(tmp_path: Path) -> None:
    touch(tmp_path / "files", "p.png")
    (tmp_path / "files" / "a.png").symlink_to("b.png")
    (tmp_path / "files" / "b.png").symlink_to("a.png")
    with pytest.raises(UserError, match=r"a\.png is a link to b\.png, where there is nothing to read \(2 such"):
        list_images(tmp_path / "files")
    touch(tmp_path / "folder", "p.png")
    (tmp_path / "folder" / "again").symlink_to(".")
    with pytest.raises(UserError, match="again is a link to a folder that it lies in: remove it"):
        list_images(tmp_path / "folder")
    (tmp_path / "self").symlink_to("self")
    with pytest.raises(UserError, match="self cannot be read"):
        list_images(tmp_path / "self")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "p.png")
    os.mkfifo(tmp_path / "q.png")
    with pytest.raises(UserError, match=r"q\.png is no plain file"):
        list_images(tmp_path)
    with pytest.raises(UserError, match="neither a folder nor"):
        list_images(tmp_path / "q.png")


def test_images_far_below_are_not_dropped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"deeper than one sub-folder|in a sub-folder"):
        list_images(touch(tmp_path, "p.png", "a/b/c/d/e/f/q.png"))


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_names_that_no_system_has(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        list_images(tmp_path / name)


def test_classes_are_the_same_in_either_form_of_unicode(tmp_path: Path) -> None:
    composed, parts = (unicodedata.normalize(form, "fée") for form in ("NFC", "NFD"))
    first = list_images(touch(tmp_path / "first", "dog/1.png", f"{composed}/1.png"))
    second = list_images(touch(tmp_path / "second", "dog/1.png", f"{parts}/1.png"))
    assert first.classes == second.classes == ["dog", composed]
    assert first.labels == second.labels == [0, 1]
    with pytest.raises(UserError, match=rf"holds the folder {composed} twice"):
        list_images(touch(tmp_path / "first", f"{parts}/2.png"))


def test_names_that_are_no_utf_8_are_names(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    listing = list_images(touch(tmp_path, f"{name}/1.png", "dog/1.png"))
    assert listing.classes == [name, "dog"]
