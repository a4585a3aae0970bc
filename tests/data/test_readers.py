"""Readers list images, keep copies together, and yield what is wanted."""

import hashlib

import pytest

from kdx2i.config import load_dataset
from kdx2i.data.readers import build_reader
from kdx2i.errors import UserError


def layout(encoded, names):
    return {name: encoded(seed) for seed, name in enumerate(names)}


def listed(config, root):
    return {(entry.label, entry.source, entry.role) for entry in build_reader(config, root).entries()}


@pytest.mark.parametrize("prefix", ["", "set/", "a/b/c/"])
def test_class_folders_are_found_below_one_folder(tmp_path, tar_of, folder_dataset, encoded, prefix):
    names = [f"{prefix}{label}/{number}.png" for label in ("cat", "dog") for number in range(2)]
    extra = {f"{prefix}readme.txt": b"x", f"{prefix}cat/.hidden.png": b"x", "__MACOSX/cat/._0.png": b"x"}
    path = tar_of(tmp_path / "a.tar.gz", layout(encoded, names) | extra)
    expected = {(name.split("/")[-2], name, None) for name in names}
    assert listed(folder_dataset(path), tmp_path) == expected


def test_one_class_below_a_folder_is_still_a_class(tmp_path, tar_of, folder_dataset, encoded):
    path = tar_of(tmp_path / "a.tar", layout(encoded, ["cat/0.png", "cat/1.png"]))
    assert listed(folder_dataset(path), tmp_path) == {("cat", "cat/0.png", None), ("cat", "cat/1.png", None)}


def test_root_selects_a_folder(tmp_path, zip_of, folder_dataset, encoded):
    path = zip_of(tmp_path / "a.zip", layout(encoded, ["set/images/cat/0.png", "set/parts/x.png"]))
    config = folder_dataset(path, options={"root": "set/images"})
    assert listed(config, tmp_path) == {("cat", "set/images/cat/0.png", None)}
    with pytest.raises(UserError, match="no image below the folder 'else'"):
        listed(folder_dataset(path, options={"root": "else"}), tmp_path)


def test_mixed_depths_are_refused(tmp_path, zip_of, folder_dataset, encoded):
    path = zip_of(tmp_path / "a.zip", layout(encoded, ["cat/0.png", "more/dog/0.png"]))
    with pytest.raises(UserError, match="which is not <class>/<image>: set the option root"):
        listed(folder_dataset(path), tmp_path)


def test_roles_come_from_folders(tmp_path, zip_of, folder_dataset, encoded):
    path = zip_of(tmp_path / "a.zip", layout(encoded, ["s/train/cat/0.png", "s/val/cat/0.png"]))
    options = {"roles": {"train": "train", "val": "test"}}
    config = folder_dataset(path, options=options, rule="manifest")
    assert listed(config, tmp_path) == {
        ("cat", "s/train/cat/0.png", "train"),
        ("cat", "s/val/cat/0.png", "test"),
    }
    with pytest.raises(UserError, match="none of the roles'"):
        listed(folder_dataset(path, options={"roles": {"train": "train"}}, rule="manifest"), tmp_path)


def test_copies_form_a_group_across_classes(tmp_path, zip_of, folder_dataset, encoded):
    names = ["cat/0.png", "cat/1.png", "dog/2.png"]
    path = zip_of(tmp_path / "a.zip", layout(encoded, names) | {"dog/copy.png": encoded(0)})
    groups = {entry.source: entry.group for entry in build_reader(folder_dataset(path), tmp_path).entries()}
    assert groups["cat/0.png"] == groups["dog/copy.png"] != ""
    assert groups["cat/1.png"] == groups["dog/2.png"] == ""


def test_items_are_the_wanted_ones_as_published(tmp_path, tar_of, folder_dataset, encoded):
    members = {"cat/0.JPG": encoded(0, "JPEG"), "cat/1.png": encoded(1), "dog/0.png": encoded(2)}
    reader = build_reader(folder_dataset(tar_of(tmp_path / "a.tar", members)), tmp_path)
    items = list(reader.items({"cat/0.JPG", "dog/0.png"}))
    assert [item.entry.source for item in items] == ["cat/0.JPG", "dog/0.png"]
    assert [item.suffix for item in items] == [".jpg", ".png"]
    for item in items:
        assert item.encoded == members[item.entry.source]
        assert item.source_sha256 == hashlib.sha256(item.encoded).hexdigest()
        assert (item.image.mode, item.image.size) == ("RGB", (12, 10))


def test_a_truncated_member_is_named(tmp_path, tar_of, folder_dataset, encoded):
    members = {"cat/0.png": encoded(0), "cat/1.png": encoded(1, size=(64, 64))[:2000]}
    reader = build_reader(folder_dataset(tar_of(tmp_path / "a.tar", members)), tmp_path)
    with pytest.raises(UserError, match=r"a\.tar: cat/1\.png is a truncated or broken image"):
        list(reader.items({"cat/0.png", "cat/1.png"}))


def test_a_source_that_changes_between_listing_and_reading_is_refused(tmp_path, folder_dataset, encoded):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "0.png").write_bytes(encoded(0))
    reader = build_reader(folder_dataset(tmp_path), tmp_path)
    assert len(reader.entries()) == 1
    (tmp_path / "cat" / "0.png").write_bytes(encoded(1))
    with pytest.raises(UserError, match="changed while it was read"):
        list(reader.items({"cat/0.png"}))


def test_the_checksum_of_an_archive_is_compared(tmp_path, tar_of, folder_dataset, encoded):
    path = tar_of(tmp_path / "a.tar", layout(encoded, ["cat/0.png"]))
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(build_reader(folder_dataset(path, sha256=pinned), tmp_path).entries()) == 1
    with pytest.raises(UserError, match=r"a\.tar is not the file that the dataset states"):
        build_reader(folder_dataset(path, sha256="0" * 64), tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UserError, match="is a folder, which has no checksum"):
        build_reader(folder_dataset(folder, sha256="0" * 64), tmp_path)


def test_mistakes_in_a_dataset_are_one_sentence(tmp_path, tar_of, folder_dataset, encoded, root):
    path = tar_of(tmp_path / "a.tar", layout(encoded, ["cat/0.png"]))
    config = folder_dataset(path)
    known = "captioned-images, celebamask-hq, image-folder, open-emoji"
    with pytest.raises(UserError, match=rf"there is no reader `parquet`; there are {known}$"):
        build_reader(config.model_copy(update={"reader": "parquet"}), tmp_path)
    with pytest.raises(UserError, match="the key `rot` is unknown"):
        build_reader(folder_dataset(path, options={"rot": "x"}), tmp_path)
    with pytest.raises(UserError, match="needs the file `manifest`"):
        reader = build_reader(
            config.model_copy(update={"reader": "open-emoji", "options": {"standin": "birds"}}), tmp_path
        )
        reader.entries()
    path.unlink()
    with pytest.raises(UserError, match=r"a\.tar does not exist"):
        build_reader(config, tmp_path)
    birds = load_dataset(root, "open-birds")
    for key, value in (("standin", "dragons"), ("tiers", ["cores"])):
        wrong = birds.model_copy(update={"options": birds.options | {key: value}})
        with pytest.raises(UserError, match=r"manifest\.csv has no .* (dragons|cores); it has "):
            build_reader(wrong, root).entries()


def test_share_alike_drawings_only_train(root):
    for name, added in (("open-birds", 16), ("open-animals-text", 152)):
        config = load_dataset(root, name)
        permissive = build_reader(config, root).entries()
        with_share_alike = build_reader(
            config.model_copy(update={"options": config.options | {"share_alike": True}}), root
        ).entries()
        more = {entry.source for entry in with_share_alike} - {entry.source for entry in permissive}
        assert len(more) == added
        assert {entry.role for entry in with_share_alike if entry.source in more} == {"train"}
        assert [e for e in with_share_alike if e.role == "test"] == [e for e in permissive if e.role == "test"]
