"""A dataset's folder: the same bytes each time, whole or absent, and checked file by file."""

import csv
import hashlib
import re
import shutil
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdx2i.config import load_dataset
from kdx2i.data import split as split_module
from kdx2i.data.reader import Entry
from kdx2i.data.rows import COLUMNS, Split, read_rows, write_rows
from kdx2i.data.split import check_split, image_stems, make_split
from kdx2i.errors import UserError


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def birds(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "open-birds"
    make_split(load_dataset(root, "open-birds"), root, folder, progress=False)
    return folder


@pytest.fixture
def own_birds(birds, tmp_path):
    return shutil.copytree(birds, tmp_path / "open-birds")


@pytest.fixture
def photos(tmp_path, zip_of, encoded):
    names = [f"{label}/{number}.png" for label in ("black cat", "dog") for number in range(6)]
    return zip_of(tmp_path / "photos.zip", {name: encoded(seed) for seed, name in enumerate(names)})


def test_the_table_has_the_columns_the_order_and_the_checksums(birds):
    with (birds / "split.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == COLUMNS
    assert b"\r" not in (birds / "split.csv").read_bytes()
    assert rows == sorted(rows, key=lambda row: (row["class"], row["image"]))
    assert len(rows) == 65 and len({row["class"] for row in rows}) == 8
    penguin = next(row for row in rows if row["source"] == "noto:penguin")
    assert penguin["image"] == "images/penguin/noto--penguin.png" and len(penguin["source_sha256"]) == 64
    roles = defaultdict(set)
    for row in rows:
        roles[row["group"]].add(row["role"])
    assert all(len(sides) == 1 for sides in roles.values())
    pixels = [{row["pixels_sha256"] for row in rows if row["role"] == role} for role in ("train", "test")]
    assert not pixels[0] & pixels[1]


def test_everything_but_the_pixels_is_known_on_every_machine(birds):
    """The pixels depend on the renderer; the choice, the roles and the sources do not."""
    rows = read_rows(birds / "split.csv")
    text = "\n".join(f"{r.image},{r.label},{r.role},{r.group},{r.source},{r.source_sha256}" for r in rows)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "1dae9bbe5d7d08dd"


def test_a_fresh_split_is_whole(birds, root):
    assert check_split(load_dataset(root, "open-birds"), birds) == []


def test_making_it_again_changes_no_byte_and_writes_no_image(own_birds, root, monkeypatch):
    before = snapshot(own_birds)
    times = {path: path.stat().st_mtime_ns for path in (own_birds / "images").rglob("*.png")}
    make_split(load_dataset(root, "open-birds"), root, own_birds, progress=False)
    assert snapshot(own_birds) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_strangers_and_damage_are_mended(own_birds, root):
    before = snapshot(own_birds)
    (own_birds / "images" / "dragon").mkdir()
    (own_birds / "images" / "dragon" / "old.png").write_bytes(b"old")
    (own_birds / "images" / "penguin" / ".x.png.abc.part").write_bytes(b"half")
    (own_birds / "images" / "penguin" / "noto--penguin.png").write_bytes(b"")
    (own_birds / "images" / "penguin" / "twemoji--penguin.png").unlink()
    make_split(load_dataset(root, "open-birds"), root, own_birds, progress=False)
    assert snapshot(own_birds) == before
    assert not (own_birds / "images" / "dragon").exists()


def test_a_link_into_a_cache_is_replaced_not_written_through(own_birds, root, tmp_path):
    image = own_birds / "images" / "penguin" / "noto--penguin.png"
    cached = tmp_path / "cached.png"
    cached.write_bytes(b"another")
    image.unlink()
    image.symlink_to(cached)
    make_split(load_dataset(root, "open-birds"), root, own_birds, progress=False)
    assert cached.read_bytes() == b"another" and not image.is_symlink()
    assert check_split(load_dataset(root, "open-birds"), own_birds) == []


@pytest.mark.parametrize("after", [0, 3])
def test_a_killed_run_leaves_no_table(photos, tmp_path, folder_dataset, monkeypatch, after):
    config = folder_dataset(photos)
    out = tmp_path / "tiny"
    make_split(config, tmp_path, out, progress=False)
    whole = snapshot(out)
    write, written = split_module.write_bytes, []

    def killed(path, data):
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    shutil.rmtree(out / "images")
    monkeypatch.setattr(split_module, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        make_split(config, tmp_path, out, progress=False)
    assert not (out / "split.csv").exists() and len(snapshot(out)) == after
    assert check_split(config, out) == [f"{out}/split.csv does not exist: run `kdx2i split --dataset tiny`"]
    monkeypatch.undo()
    make_split(config, tmp_path, out, progress=False)
    assert snapshot(out) == whole


def test_a_bad_image_leaves_nothing(tmp_path, zip_of, folder_dataset, encoded):
    members = {f"cat/{number:02d}.jpg": encoded(number, "JPEG", size=(64, 64)) for number in range(33)}
    members["cat/32.jpg"] = members["cat/32.jpg"][:400]
    config = folder_dataset(zip_of(tmp_path / "photos.zip", members), rule="fraction", train=0.5, seed=0)
    with pytest.raises(UserError, match=r"cat/32\.jpg is a truncated or broken image"):
        make_split(config, tmp_path, tmp_path / "tiny", progress=False)
    assert not [path for path in (tmp_path / "tiny").rglob("*") if path.is_file()]


def test_the_order_of_the_archive_does_not_matter(tmp_path, zip_of, folder_dataset, encoded):
    members = [(f"{label}/{number}.png", encoded(number)) for label in "ab" for number in range(8)]
    members = [(name, encoded(seed)) for seed, (name, _) in enumerate(members)]
    made = []
    for number, order in enumerate((members, members[::-1])):
        path = zip_of(tmp_path / f"{number}.zip", dict(order))
        out = tmp_path / f"out{number}"
        make_split(folder_dataset(path, rule="fraction", train=0.5, seed=3), tmp_path, out, progress=False)
        made.append(snapshot(out))
    assert made[0] == made[1] and len(made[0]) == 17


def test_photographs_stay_as_published(photos, tmp_path, folder_dataset, encoded):
    out = tmp_path / "tiny"
    config = folder_dataset(photos, rule="per-class", train=2, test=1, seed=0)
    make_split(config, tmp_path, out, progress=False)
    rows = read_rows(out / "split.csv")
    assert len(rows) == 6 and {row.image.split("/")[1] for row in rows} == {"black_cat", "dog"}
    for row in rows:
        assert hashlib.sha256((out / row.image).read_bytes()).hexdigest() == row.source_sha256
    assert check_split(config, out) == []


def test_a_source_in_the_folder_of_images_is_not_removed(tmp_path, folder_dataset, encoded):
    out = tmp_path / "tiny"
    source = out / "images" / "raw"
    (source / "cat").mkdir(parents=True)
    (source / "cat" / "0.png").write_bytes(encoded(0))
    with pytest.raises(UserError, match=r"lies in .*images, where only the split's files may be"):
        make_split(folder_dataset(source, rule="fraction", train=1.0), tmp_path, out, progress=False)
    assert (source / "cat" / "0.png").exists()


def test_check_names_each_damaged_file(own_birds, encoded, root):
    images = own_birds / "images" / "penguin"
    (images / "noto--penguin.png").write_bytes((images / "twemoji--penguin.png").read_bytes())
    data = (images / "twemoji--penguin.png").read_bytes()
    (images / "twemoji--penguin.png").write_bytes(data[: len(data) // 2])
    (images / "emojione--penguin.png").unlink()
    (images / "stranger.png").write_bytes(encoded(1))
    problems = check_split(load_dataset(root, "open-birds"), own_birds)
    for name, words in (
        ("noto--penguin.png", "does not have the pixels"),
        ("twemoji--penguin.png", "truncated or broken"),
        ("emojione--penguin.png", "does not exist"),
        ("stranger.png", "is not part of the split"),
    ):
        assert [p for p in problems if name in p and words in p], (name, problems)


def test_one_flipped_byte_is_found(own_birds, root):
    path = own_birds / "images" / "rooster" / "noto--rooster.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    problems = check_split(load_dataset(root, "open-birds"), own_birds)
    assert len(problems) == 1 and str(path) in problems[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("image,class", "file,class"), "must have the columns"),
        (lambda text: text.replace(",train,", ",both,", 1), "line .*: the role is 'both'"),
        (lambda text: text.replace("images/", "../images/", 1), "does not lie in the folder images"),
        (lambda text: text.replace("images/", "/etc/", 1), "does not lie in the folder images"),
        (lambda text: text + "a,b\n", "2 values instead of 7"),
        (lambda text: text.splitlines()[0] + "\n", "lists no image"),
        (lambda text: text + text.splitlines()[-1] + "\n", "lists the image .* twice"),
        (lambda text: "\n".join([text.splitlines()[0], *text.splitlines()[:0:-1]]) + "\n", "is not sorted"),
        (lambda text: text.replace(",test,birds-g", ",train,birds-g", 1), "in two roles"),
    ],
)
def test_a_damaged_table_is_reported(own_birds, change, words, root):
    table = own_birds / "split.csv"
    table.write_text(change(table.read_text(encoding="utf-8")), encoding="utf-8")
    problems = check_split(load_dataset(root, "open-birds"), own_birds)
    assert any(re.search(words, problem) and "split.csv" in problem for problem in problems), problems


NAMES = st.text(alphabet="aAé /.-_#\n", min_size=1, max_size=4)


@given(st.sets(st.tuples(NAMES, NAMES), min_size=1, max_size=12))
def test_file_names_are_safe_and_differ_whatever_the_labels(names):
    entries = [Entry(label, stem, f"{label}\0{stem}") for label, stem in names]
    stems = image_stems(entries)
    assert len({stem.lower() for stem in stems.values()}) == len(entries)
    for stem in stems.values():
        label, name = stem.split("/")
        assert label and name and stem.isascii() and " " not in stem
        assert not label.startswith(".") and not name.startswith(".")
    again = image_stems(entries[::-1])
    assert again == stems


def test_rows_survive_commas_quotes_and_lines(tmp_path, birds):
    row = read_rows(birds / "split.csv")[0]
    odd = [type(row)(f"images/a/{n}.png", f'a,"{n}"\nx', "test", "", "é", "0", "1") for n in range(3)]
    write_rows(tmp_path / "split.csv", odd[::-1])
    assert read_rows(tmp_path / "split.csv") == odd


def test_a_split_knows_its_name_classes_and_roles(birds):
    split = Split(birds)
    assert split.name == "open-birds" and split.classes == sorted(set(split.classes)) and len(split.classes) == 8
    assert (len(split.select("train")), len(split.select("test")), len(split.select("all"))) == (47, 18, 65)
    assert split.classes_of("train") == split.classes_of("test") == split.classes
    with pytest.raises(UserError, match="run `kdx2i split --dataset nowhere`"):
        Split(birds.parent / "nowhere")
