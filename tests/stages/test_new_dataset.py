"""A folder or zip of one's own images becomes a dataset and a preset; what cannot be one leaves nothing behind."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from repository import ROOT, settings_copy

from kdx2i.cli import main
from kdx2i.config import load_dataset
from kdx2i.files import sha256_file
from kdx2i.stages import split
from kdx2i.suite import make_plan

TEACHER = "benchmarks/teachers/faces-r32-long.safetensors"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDX2I_ROOT", str(settings_copy(tmp_path / "root")))
    return tmp_path / "root"


def pictures(folder: Path, classes: dict[str, int]) -> Path:
    drawn = np.random.default_rng(0)
    for label, count in classes.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(drawn.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / label / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def asked(source: Path, *more: str) -> list[str]:
    return ["new-dataset", str(source), "--name", "pets", "--licence", "own photographs", *more]


def test_a_folder_becomes_a_dataset_whose_split_has_the_stated_counts(root: Path, tmp_path: Path) -> None:
    source = pictures(tmp_path / "own", {"cat": 8, "dog": 6})
    assert main(asked(source, "--title", "Pets", "--like", "open-smoke")) == 0
    dataset = load_dataset(root, "pets")
    assert dataset.licence == "own photographs"
    assert dataset.source.files["archive"].sha256 == sha256_file(root / "data/raw/pets.zip")
    assert dataset.expects.model_dump() == {"classes": 2, "train": 11, "test": 3}
    plan = make_plan(root, "pets")
    split.run(plan, plan.split("pets"), progress=False)
    assert len((root / "data/pets/split.csv").read_text().splitlines()) == 15
    assert plan.table("table1").cells[0].actual_dataset == "pets"


def test_the_same_folder_is_packed_to_the_same_bytes_and_a_zip_stays_where_it_is(root: Path, tmp_path: Path) -> None:
    source = pictures(tmp_path / "own", {"cat": 4, "dog": 4})
    assert main(asked(source)) == 0
    packed = root / "data/raw/pets.zip"
    first = sha256_file(packed)
    with zipfile.ZipFile(packed) as archive:
        assert sorted({name.split("/")[0] for name in archive.namelist()}) == ["cat", "dog"]
    for path in (packed, root / "benchmarks/datasets/pets.yaml", root / "benchmarks/presets/pets.yaml"):
        path.unlink()
    assert main(asked(source)) == 0
    assert sha256_file(packed) == first
    packed.rename(tmp_path / "mine.zip")
    words = asked(tmp_path / "mine.zip")
    words[words.index("pets")] = "same"
    assert main(words) == 0
    assert load_dataset(root, "same").source.files["archive"].path == str(tmp_path / "mine.zip")
    assert not (root / "data/raw/same.zip").exists()


def test_ones_own_teacher_is_distilled_at_its_resolution(root: Path, tmp_path: Path) -> None:
    source = pictures(tmp_path / "own", {"cat": 4, "dog": 4})
    assert main(asked(source, "--teacher", str(ROOT / TEACHER))) == 0
    preset = yaml.safe_load((root / "benchmarks/presets/pets.yaml").read_text())
    assert preset["resolutions"] == {256: 32}
    plan = make_plan(root, "pets")
    run = plan.run("pets", "stargan_v2", "kd", 32, 0)
    assert run.spec.student_file is None
    assert run.inputs["distilled"].spec.teacher_file == preset["teachers"]["own"][32]


def test_what_cannot_be_a_dataset_is_one_sentence_and_leaves_nothing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = pictures(tmp_path / "fine", {"cat": 4, "dog": 4})
    few = pictures(tmp_path / "few", {"cat": 4, "dog": 3})
    one = pictures(tmp_path / "one", {"cat": 4})
    flat = pictures(tmp_path / "flat", {"cat": 1}) / "cat"
    before = sorted(path for path in root.rglob("*") if path.is_file())
    for words, sentence in (
        (asked(few), "class dog has 3 images, and each needs at least 4"),
        (asked(one), "has one class, cat: translation needs two"),
        (asked(flat), "which is not <class>/<image>"),
        (asked(tmp_path / "nowhere"), "nowhere does not exist"),
        (asked(fine, "--like", "mine"), "there is no preset `mine`"),
        (asked(fine, "--teacher", str(ROOT / "benchmarks/students/stargan_v2-kd-r64.safetensors")), "is no StyleGAN2"),
        ([*asked(fine)[:5], " "], "--licence is empty"),
        (["new-dataset", str(fine), "--name", "My Pets", "--licence", "CC0"], "name"),
        (["new-dataset", str(fine), "--name", "open-birds", "--licence", "CC0"], "exists: choose another --name"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
        assert sorted(path for path in root.rglob("*") if path.is_file()) == before
