"""What users give `kdx2i score`: the number is that of what the files mean, or one sentence comes before any work."""

import errno
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdx2i.cli import main
from kdx2i.metrics.segmentation.segmenter import TrainedSegmenter, UNet
from kdx2i.metrics.segmentation.settings import SegmenterSettings
from kdx2i.stages import folders

OPTIONS = ["--extractor", "efficientnet-lite0", "--input-size", "32", "--device", "cpu"]
NO_UTF_8 = os.fsdecode(b"caf\xe9")


def picture(seed: int) -> np.ndarray:
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((32, 32), Image.Resampling.BILINEAR))


def fill(folder: Path, count: int, seed: int, names: str = "p{:02d}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(picture(seed + number)).save(folder / names.format(number))
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("real"), 4, 100)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return fill(tmp_path / "plain", 4, 0)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(*_: object) -> None:
        raise AssertionError("images were embedded before the inputs were checked")

    monkeypatch.setattr(folders, "_embed", embed)


def score(*words: object) -> int:
    return main(["score", *map(str, words), *OPTIONS])


def result(generated: Path, reference: Path, *words: object) -> dict[str, Any]:
    out = generated.parent / "out.json"
    assert score("--generated", generated, "--reference", reference, "--json", out, *words) == 0
    return json.loads(out.read_text())  # type: ignore[no-any-return]


def flowing(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def fid(document: dict[str, Any]) -> float:
    return document["values"]["FID"]["value"]  # type: ignore[no-any-return]


def test_grey_of_16_bits_scores_as_its_8_bits(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("deep", "twin"):
        (tmp_path / name).mkdir()
    for number in range(4):
        values = (picture(number)[..., 0].astype(np.uint16) * 256) + number
        Image.fromarray(values).save(tmp_path / "deep" / f"{number}.png")
        Image.fromarray(np.rint(values / 257).astype(np.uint8)).save(tmp_path / "twin" / f"{number}.png")
    deep, twin = (result(tmp_path / name, real, "--metrics", "fid") for name in ("deep", "twin"))
    assert fid(deep) == fid(twin)
    assert deep["generated"]["content_sha256"] == twin["generated"]["content_sha256"]
    assert deep["generated"]["remarks"] == {"16-bit grey": 4}
    assert twin["generated"]["remarks"] == {}
    shown = flowing(capsys.readouterr().out)
    assert shown.count("4 of 4 generated images are grey of 16 bits, and taken as round(v / 257)") == 1


def test_floats_and_integers_are_refused(real: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((8, 8), np.float32)).save(plain / "p00.tif")
    assert score("--generated", plain, "--reference", real) == 2
    error = capsys.readouterr().err
    assert "p00.tif holds floating-point numbers" in error
    assert error.count("\n") == 1


def test_alpha_is_laid_on_white_or_dropped(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("clear", "white", "drop"):
        (tmp_path / name).mkdir()
    opacity = np.tile(np.linspace(0, 255, 32).round()[None, :, None], (32, 1, 1))
    for number in range(4):
        rgb = picture(number).astype(np.float64)
        clear = np.concatenate([rgb, opacity], 2).astype(np.uint8)
        white = Image.alpha_composite(Image.new("RGBA", (32, 32), "white"), Image.fromarray(clear)).convert("RGB")
        Image.fromarray(clear).save(tmp_path / "clear" / f"{number}.png")
        white.save(tmp_path / "white" / f"{number}.png")
        Image.fromarray(rgb.astype(np.uint8)).save(tmp_path / "drop" / f"{number}.png")
    laid = result(tmp_path / "clear", real, "--metrics", "fid")
    assert "4 of 4 generated images are transparent, and laid on white; clean-fid" in flowing(capsys.readouterr().out)
    dropped = result(tmp_path / "clear", real, "--metrics", "fid", "--alpha", "drop")
    assert "transparent, and their alpha is dropped" in flowing(capsys.readouterr().out)
    assert fid(laid) == fid(result(tmp_path / "white", real, "--metrics", "fid"))
    assert fid(dropped) == fid(result(tmp_path / "drop", real, "--metrics", "fid")) != fid(laid)
    assert laid["generated"]["remarks"] == dropped["generated"]["remarks"] == {"transparent": 4}
    assert (laid["protocol"]["alpha"], dropped["protocol"]["alpha"]) == ("white", "drop")


def test_files_left_out_are_counted_and_named(real: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        Image.fromarray(picture(number)).save(plain / f"q{number}.gif")
    document = result(plain, real, "--metrics", "fid")
    assert document["generated"]["images"] == 4
    left_out = document["generated"]["left_out"]
    assert (left_out["files"], left_out["suffixes"]) == (6, {".gif": 6})
    assert document["reference"]["left_out"]["files"] == 0
    shown = flowing(capsys.readouterr().out)
    assert (
        "6 files beside the generated images are left out: q0.gif, q1.gif, q2.gif, q3.gif, q4.gif and 1 more" in shown
    )
    assert "reference images are left out" not in shown


def test_names_that_are_no_utf_8_survive(tmp_path: Path) -> None:
    for side, seed in (("generated", 0), ("reference", 50)):
        for name in ("dog", NO_UTF_8):
            fill(tmp_path / side / name, 2, seed)
    document = result(tmp_path / "generated", tmp_path / "reference", "--metrics", "fid,mfid")
    assert document["generated"]["classes"] == [NO_UTF_8, "dog"]
    assert os.fsencode(document["generated"]["classes"][0]) == b"caf\xe9"
    assert list(document["values"]["mFID"]["per_class"]) == [NO_UTF_8, "dog"]


def test_a_broken_file_of_such_a_name_is_one_sentence(
    real: Path, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plain / f"{NO_UTF_8}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert score("--generated", plain, "--reference", real) == 2
    assert "caf\\udce9.png is not an image" in capsys.readouterr().err


def test_classes_are_matched_in_either_form_of_unicode(tmp_path: Path) -> None:
    for side, form, seed in (("generated", "NFC", 0), ("reference", "NFD", 50)):
        for name in ("dog", unicodedata.normalize(form, "fée")):
            fill(tmp_path / side / name, 2, seed)
    assert result(tmp_path / "generated", tmp_path / "reference", "--metrics", "mfid")["values"]["mFID"]["value"] > 0


@pytest.mark.parametrize("folders_", [("",), ("cat", "dog")])
def test_merely_numbered_images_are_no_outputs_of_one_source(
    folders_: tuple[str, ...], tmp_path: Path, real: Path
) -> None:
    for name in folders_:
        fill(tmp_path / "generated" / name, 3, 0, "sample_{:02d}.png")
    entry = result(tmp_path / "generated", real)["values"]["LPIPS"]
    assert entry["value"] is None
    assert entry["reason"].startswith("the names number the images and would put all of a folder under one source")


def test_images_of_no_source_are_said_to_take_no_part(tmp_path: Path, real: Path) -> None:
    for source in "ab":
        fill(tmp_path / "generated", 2, ord(source), source + "_{}.png")
    named = result(tmp_path / "generated", real)["values"]["LPIPS"]
    fill(tmp_path / "generated", 3, 7, "x{}.png")
    partly = result(tmp_path / "generated", real)["values"]["LPIPS"]
    assert partly["value"] == named["value"]
    assert partly["note"] == "the names of 3 generated images say no source: they take no part"
    assert "note" not in named


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--generated", ""], "--generated is empty: name a path"),
        (["--generated", "PLAIN", "--reference", ""], "--reference is empty"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--generated", "PLAIN"], "--generated is given twice"),
        (["--generated=PLAIN", "--reference", "PLAIN", "--reference=PLAIN"], "--reference is given twice"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--json", ""], "--json is empty"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--segmenter", "/nowhere"], "/nowhere does not exist"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--weights", "PLAIN"], "plain is no file"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--labels", "/nowhere"], "--labels /nowhere is no folder"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--device", "cuda:99"], "--device cuda:99: PyTorch sees"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--json", "/dev/null"], "/dev/null is no plain file"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--json", "PLAIN/" + "x" * 250], ": File name too long"),
        (["--generated", "PLAIN", "--reference", "PLAIN", "--json", "PLAIN/p00.png/x"], "cannot be written"),
    ],
)  # fmt: skip
def test_inputs_are_checked_before_anything_is_embedded(
    words: list[str], sentence: str, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *(word.replace("PLAIN", str(plain)) for word in words)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert Path("/dev/null").is_char_device()


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("words", [["--infinity", "--seed", "-1"], ["--seed", "99999999999"], ["--alpha", "black"]])
def test_numbers_and_words_out_of_range_are_refused(words: list[str], plain: Path) -> None:
    assert score("--generated", plain, "--reference", plain, *words) == 2


def test_repeated_metrics_add_up(plain: Path, real: Path) -> None:
    assert list(result(plain, real, "--metrics", "kid", "--metrics", "fid,kid")["values"]) == ["KIDx100", "FID"]


@pytest.fixture
def labelled(tmp_path: Path, plain: Path) -> Iterator[list[object]]:
    """The options of mIoU for a segmenter of three classes and label maps of all images."""
    torch.manual_seed(0)
    settings, classes = SegmenterSettings(width=4), ("background", "face", "eye")
    file = tmp_path / "segmenter.safetensors"
    TrainedSegmenter(settings, classes, 32, 1, UNet(4, 3).eval()).save(file)
    (tmp_path / "labels").mkdir()
    for path in plain.iterdir():
        Image.fromarray(np.full((32, 32), 2, np.uint8)).save(tmp_path / "labels" / path.name)
    yield ["--generated", plain, "--reference", plain, "--segmenter", file, "--labels", tmp_path / "labels"]


@pytest.mark.usefixtures("no_work")
def test_label_maps_and_segmenter_are_checked_before_anything_is_embedded(
    labelled: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(sentence: str, *more: object) -> None:
        assert score(*labelled, *more) == 2
        assert sentence in capsys.readouterr().err

    Image.fromarray(np.full((32, 32), 3, np.uint8)).save(tmp_path / "labels" / "p03.png")
    refused("label maps must hold 0 .. 2, found", "--metrics", "miou")
    refused("do not have the same classes", "--metrics", "miou", "--label-order", "celebamask-hq")
    teacher = Path(__file__).parents[2] / "benchmarks" / "teachers"
    shutil.copy(next(teacher.rglob("*.safetensors")), tmp_path / "segmenter.safetensors")
    before = (tmp_path / "segmenter.safetensors").stat().st_size
    assert score(*labelled) == 2
    error = capsys.readouterr().err
    assert "is no segmenter: it holds" in error
    assert "delete" not in error
    assert (tmp_path / "segmenter.safetensors").stat().st_size == before


def test_a_wrong_label_map_is_a_reason_where_miou_was_not_named(labelled: list[object], tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 3, np.uint8)).save(tmp_path / "labels" / "p03.png")
    assert score(*labelled, "--json", tmp_path / "out.json") == 0
    values = json.loads((tmp_path / "out.json").read_text())["values"]
    assert "label maps must hold 0 .. 2" in values["mIoU"]["reason"]
    assert values["FID"]["value"] is not None


def test_values_that_cannot_be_kept_are_still_printed(
    plain: Path, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders, "write_bytes", full)
    asked = ("--generated", plain, "--reference", real, "--metrics", "fid", "--json", tmp_path / "out.json")
    assert score(*asked) == 2
    shown = capsys.readouterr()
    assert "FID ↓" in shown.out
    assert "out.json could not be written: No space left on device" in shown.err


@pytest.fixture
def printed_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that puts a file with an encoding in the place of standard output."""
    opened = []

    def put(descriptor: int, encoding: str = "utf-8") -> None:
        opened.append(open(descriptor, "w", encoding=encoding))  # noqa: SIM115  closed below
        monkeypatch.setattr("sys.stdout", opened[-1])

    yield put
    for file in opened:
        file.close()


def test_a_closed_pipe_is_no_error_of_the_measurement(
    plain: Path, real: Path, tmp_path: Path, printed_to: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ("--generated", plain, "--reference", real, "--metrics", "fid")
    for more, status in ((("--json", tmp_path / "out.json"), 0), ((), 141)):
        reading, writing = os.pipe()
        os.close(reading)
        printed_to(writing)
        assert score(*asked, *more) == status
    assert fid(json.loads((tmp_path / "out.json").read_text())) > 0
    assert capfd.readouterr().err == ""


def test_a_full_output_is_one_sentence_that_says_where_the_values_are(
    plain: Path, real: Path, tmp_path: Path, printed_to: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ("--generated", plain, "--reference", real, "--metrics", "fid")
    for more, sentence in (
        (("--json", tmp_path / "out.json"), "the values are in"),
        ((), "the standard output cannot be written: No space left on device"),
    ):
        printed_to(os.open("/dev/full", os.O_WRONLY))
        assert score(*asked, *more) == 2
        error = capfd.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
    assert fid(json.loads((tmp_path / "out.json").read_text())) > 0


def test_an_encoding_without_box_signs_gets_ascii(plain: Path, real: Path, tmp_path: Path, printed_to: Any) -> None:
    out = tmp_path / "table.txt"
    printed_to(os.open(out, os.O_WRONLY | os.O_CREAT), "ascii")
    assert score("--generated", plain, "--reference", real, "--metrics", "fid,kid") == 0
    shown = out.read_text("ascii")
    assert "FID v" in shown
    assert "KIDx100 v" in shown
    assert "\\" not in shown


def modules_after(*words: object) -> set[str]:
    """Return what a process has imported in which `kdx2i WORDS...` ended."""
    code = "import sys; from kdx2i.cli import main; main(sys.argv[1:]); print('modules', *sys.modules)"
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("modules ")[2].split())


def test_a_mistyped_path_is_said_before_libraries_are_loaded(plain: Path) -> None:
    modules = modules_after("score", "--generated", plain, "--reference", plain / "nowhere")
    assert "kdx2i.stages.folder_request" in modules
    assert not modules & {"torch", "numpy", "scipy", "matplotlib", "pandas", "PIL"}


def test_a_table_on_the_screen_needs_no_plots_and_no_statistics(plain: Path, real: Path) -> None:
    modules = modules_after("score", "--generated", plain, "--reference", real, *OPTIONS)
    assert "kdx2i.stages.folder_report" in modules
    assert not modules & {"matplotlib", "scipy.stats", "pandas", "torchvision", "torch._dynamo", "snakemake"}
