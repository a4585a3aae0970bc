"""Conditions as files of a split: made, versioned, checked one by one, mended, and whole or absent."""

import csv
import hashlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from kdx2i.config import load_dataset
from kdx2i.data import split as split_module
from kdx2i.data.conditions import synthesiser
from kdx2i.data.conditions.condition_rows import COLUMNS, read_condition_rows, write_condition_rows
from kdx2i.data.conditions.formats import encode_label_map
from kdx2i.data.rows import Split
from kdx2i.data.split import check_split, make_split
from kdx2i.errors import UserError
from kdx2i.plan import Plan
from kdx2i.stages import split as stage
from kdx2i.suite import catalogue


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def made(flowers, tmp_path):
    """The dataset with all kinds of conditions, and its folder."""
    config = flowers()
    make_split(config, tmp_path, tmp_path / "flowers", progress=False)
    return config, tmp_path / "flowers"


def test_every_image_has_its_files_with_their_checksums(made):
    config, folder = made
    assert check_split(config, folder) == []
    with (folder / "conditions.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == COLUMNS and b"\r" not in (folder / "conditions.csv").read_bytes()
    files = [row["file"] for row in rows if row["image"] == "images/lily/lily1.png"]
    assert files == [
        "conditions/captions/lily/lily1.txt",
        "conditions/label-maps/lily/lily1.png",
        "conditions/speech/lily/lily1--0.wav",
        "conditions/speech/lily/lily1--1.wav",
    ]
    assert (folder / files[0]).read_text(encoding="utf-8") == "a flower\na lily flower, number 5\n"
    assert [row["file"] for row in rows if not row["image"]] == ["conditions/label-maps.json", "conditions/speech.json"]
    assert len(rows) == 6 * 4 + 2
    for row in rows:
        data = (folder / row["file"]).read_bytes()
        if row["file"].endswith(".png"):
            with Image.open(folder / row["file"]) as image:
                data = b"6x5:" + np.array(image).tobytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]


def test_a_split_without_conditions_has_neither_table_nor_folder(made, flowers, tmp_path):
    _, folder = made
    images = {name: digest for name, digest in snapshot(folder).items() if "conditions" not in name}
    plain = flowers(task="image-to-image")
    assert check_split(plain, folder)[0].endswith("conditions.csv is there, but dataset flowers has no conditions")
    make_split(plain, tmp_path, folder, progress=False)
    assert snapshot(folder) == images and not (folder / "conditions").exists()
    assert check_split(plain, folder) == []


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (
            "captions/rose/rose0.txt",
            lambda data: data.replace(b"rose", b"Rose"),
            r"is not the file that conditions\.csv",
        ),
        ("captions/rose/rose0.txt", lambda data: b"", r"is not the file that conditions\.csv"),
        ("speech/rose/rose0--1.wav", lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:], "is not the file"),
        ("speech/rose/rose0--1.wav", lambda data: b"no sound", "is not the file"),
        ("label-maps/rose/rose0.png", lambda data: encode_label_map(np.eye(5, 6, dtype=np.uint8)), "is not the file"),
        ("label-maps/rose/rose0.png", lambda data: data[: len(data) // 2], "not a PNG image that can be read"),
        ("label-maps/rose/rose0.png", lambda data: data[:45] + bytes([data[45] ^ 1]) + data[46:], "broken"),
        ("label-maps.json", lambda data: data.replace(b"leaf", b"twig"), "is not the file"),
        ("speech.json", lambda data: data + b" ", "is not the file"),
        ("captions/rose/rose0.txt", None, "does not exist"),
    ],
)
def test_one_damaged_file_is_named_and_mended(made, tmp_path, file, damage, words):
    config, folder = made
    before = snapshot(folder)
    path = folder / "conditions" / file
    data = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage(data))
    (problem,) = check_split(config, folder)
    assert str(path) in problem and re.search(words, problem), problem
    make_split(config, tmp_path, folder, progress=False)
    assert snapshot(folder) == before


def test_strangers_are_named_and_removed(made, tmp_path):
    config, folder = made
    before = snapshot(folder)
    (folder / "conditions" / "captions" / "old").mkdir()
    (folder / "conditions" / "captions" / "old" / "tulip.txt").write_text("a tulip\n")
    (folder / "conditions" / "speech" / "lily" / ".lily0--0.wav.x.part").write_bytes(b"half")
    problems = check_split(config, folder)
    assert len(problems) == 2 and all("is not part of the split: remove it" in problem for problem in problems)
    make_split(config, tmp_path, folder, progress=False)
    assert snapshot(folder) == before and not (folder / "conditions" / "captions" / "old").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("image,kind", "image,sort"), "must have the columns"),
        (lambda text: text.replace(",captions,", ",smells,", 1), "line 2: the kind is 'smells'"),
        (
            lambda text: text.replace(",conditions/captions/", ",../captions/", 1),
            "does not lie in the folder conditions",
        ),
        (lambda text: text.replace(",conditions/", ",/etc/", 1), "does not lie in the folder conditions"),
        (lambda text: text.replace(",conditions/c", ",conditions/../images/c", 1), "does not lie in the folder"),
        (lambda text: re.sub(r"[0-9a-f]{64}", "0", text, count=1), "'0' is no SHA-256"),
        (lambda text: text + "a,b\n", "2 values instead of 4"),
        (lambda text: text + text.splitlines()[-1] + "\n", r"lists the file conditions/speech/.* twice"),
        (lambda text: "\n".join([text.splitlines()[0], *text.splitlines()[:0:-1]]) + "\n", "is not sorted"),
        (lambda text: text.replace("images/lily/lily1.png", "images/lily/lily9.png"), "which is no image of the split"),
        (lambda text: re.sub(r"images/lily/lily1.png,captions.*\n", "", text), "no captions of images/lily/lily1.png"),
        (lambda text: re.sub(r"images/lily/lily1.png,speech.*\n", "", text), "no speech of images/lily/lily1.png"),
        (lambda text: re.sub(r",label-maps,.*json.*\n", "", text), "lists 0 files that describe all label-maps"),
        (lambda text: text.replace("lily1.png,captions", "lily0.png,captions"), "the captions of .*lily0.png twice"),
        (lambda text: text.splitlines()[0] + "\n", "lists no captions of images/daisy/daisy0.png"),
    ],
)
def test_a_damaged_table_is_reported(made, change, words):
    config, folder = made
    table = folder / "conditions.csv"
    table.write_text(change(table.read_text(encoding="utf-8")), encoding="utf-8")
    problems = check_split(config, folder)
    assert any(re.search(words, problem) and str(table) in problem for problem in problems), problems


def test_content_is_checked_even_where_the_checksum_is_right(made):
    config, folder = made
    rows = read_condition_rows(folder / "conditions.csv")
    changed = {
        "conditions/captions/lily/lily0.txt": b"",
        "conditions/speech/lily/lily0--0.wav": b"no sound",
        "conditions/label-maps.json": b'{"labels": ["ground", "leaf"]}',
    }
    for file, data in changed.items():
        (folder / file).write_bytes(data)
    digests = {file: hashlib.sha256(data).hexdigest() for file, data in changed.items()}
    write_condition_rows(
        folder / "conditions.csv",
        [type(row)(row.image, row.kind, row.file, digests.get(row.file, row.sha256)) for row in rows],
    )
    problems = check_split(config, folder)
    for file, words in zip(
        changed, ("empty: it has no caption", "not a WAV file", "does not name the labels"), strict=True
    ):
        assert [problem for problem in problems if file in problem and words in problem], problems
    assert len(problems) == 3


def test_a_killed_run_leaves_no_table(made, tmp_path, monkeypatch):
    config, folder = made
    whole = snapshot(folder)
    shutil.rmtree(folder / "conditions")
    write, written = split_module.write_bytes, []

    def killed(path, data):
        if len(written) == 9:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    monkeypatch.setattr(split_module, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        make_split(config, tmp_path, folder, progress=False)
    assert not (folder / "split.csv").exists() and not (folder / "conditions.csv").exists()
    monkeypatch.setattr(split_module, "write_bytes", write)
    make_split(config, tmp_path, folder, progress=False)
    assert snapshot(folder) == whole


def test_the_table_of_conditions_is_written_before_that_of_images(made, tmp_path, monkeypatch):
    config, folder = made

    def killed(path, rows):
        raise KeyboardInterrupt

    monkeypatch.setattr(split_module, "write_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        make_split(config, tmp_path, folder, progress=False)
    assert (folder / "conditions.csv").exists()
    assert check_split(config, folder) == [f"{folder}/split.csv does not exist: run `kdx2i split --dataset flowers`"]


def test_classes_with_both_roles_are_refused_where_none_may_be(made, flowers, tmp_path):
    config, folder = made
    split = Split(folder)
    assert (split.classes_of("train"), split.classes_of("test")) == (["daisy", "rose"], ["lily"])
    assert split.classes == ["daisy", "lily", "rose"]
    table = folder / "split.csv"
    table.write_text(re.sub("(images/rose/rose1.png,rose),train", r"\1,test", table.read_text()))
    (problem,) = check_split(config, folder)
    assert problem.startswith(f"{table} has the class 'rose' in both train and test (1 such classes)")
    mixed = config.model_copy(update={"split": config.split.model_copy(update={"rule": "fraction", "train": 0.5})})
    with pytest.raises(UserError, match="dataset flowers has the class 'daisy' in both train and test"):
        make_split(mixed, tmp_path, tmp_path / "mixed", progress=False)
    assert not (tmp_path / "mixed" / "split.csv").exists()


def test_a_source_without_conditions_is_one_sentence(flowers, tmp_path, folder_dataset, zip_of, encoded):
    photos = zip_of(tmp_path / "photos.zip", {f"cat/{n}.png": encoded(n) for n in range(4)})
    for keys, words in (
        ({"task": "text", "conditions": ("captions",)}, "cat/0.png has no caption"),
        ({"task": "label-map", "conditions": ("label-maps",), "labels": ("a",)}, "cat/0.png has no label map"),
        ({"task": "speech", "conditions": ("speech",)}, "cat/0.png has no caption"),
    ):
        config = folder_dataset(photos).model_copy(update=keys)
        with pytest.raises(UserError, match=words):
            make_split(config, tmp_path, tmp_path / "tiny", progress=False)
        assert not (tmp_path / "tiny" / "split.csv").exists()
    few = flowers(task="label-map", conditions=["label-maps"], labels=["ground", "leaf"])
    with pytest.raises(UserError, match="has the label number 2, but the 2 labels count from 0"):
        make_split(few, tmp_path, tmp_path / "few", progress=False)


def test_without_a_synthesiser_nothing_is_touched(made, tmp_path, monkeypatch):
    config, folder = made
    before = snapshot(folder)

    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(synthesiser, "import_module", absent)
    with pytest.raises(UserError, match="speech needs a synthesiser"):
        make_split(config, tmp_path, folder, progress=False)
    assert snapshot(folder) == before and check_split(config, folder) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"task": "text"}, "the task text needs `captions`"),
        ({"task": "speech", "conditions": ["captions"]}, "the task speech needs `speech`"),
        ({"conditions": ["captions"]}, "the task image-to-image has no `conditions`"),
        ({"task": "text", "conditions": ["captions", "captions"]}, "names something twice"),
        ({"task": "label-map", "conditions": ["label-maps"]}, "`labels` names the numbers of label maps"),
        ({"task": "text", "conditions": ["captions"], "labels": ["a"]}, "`labels` names the numbers of label maps"),
        ({"task": "smell"}, "Input should be 'image-to-image'"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(flowers, keys, words):
    with pytest.raises(ValueError, match=words):
        flowers(**{"task": "image-to-image", **keys})


def test_the_open_captions_are_those_of_the_manifest_and_the_command_checks_them(root, tmp_path):
    (tmp_path / "benchmarks").symlink_to(root / "benchmarks")
    plan = Plan(tmp_path, "open", None, catalogue())
    leaf = plan.split("open-birds-text")
    assert leaf.outputs == ("split.csv", "conditions.csv") and plan.split("open-birds").outputs == ("split.csv",)
    stage.run(plan, leaf, progress=False)
    stage.check(leaf)
    split = Split(leaf.folder)
    assert (len(split.rows), len(split.classes_of("train")), len(split.classes_of("test"))) == (121, 16, 4)
    captions = (leaf.folder / "conditions/captions/penguin/noto--penguin.txt").read_text(encoding="utf-8").splitlines()
    assert len(captions) == 10 and captions[0] == "penguin"
    text = "\n".join(f"{row.image},{row.file},{row.sha256}" for row in read_condition_rows(leaf.file("conditions.csv")))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "7f48b7891ca95b28"
    (leaf.folder / "conditions/captions/penguin/noto--penguin.txt").write_text("penguin\n")
    with pytest.raises(UserError, match=r"noto--penguin\.txt is not the file"):
        stage.check(leaf)
    assert load_dataset(tmp_path, "open-birds-text").task == "text"
