"""`kdx2i score` on folders and zip files, through the command, with the packaged network at a small size."""

import hashlib
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from random_inception import random_torchvision

from kdx2i.cli import main
from kdx2i.metrics.distances.frechet import frechet_distance
from kdx2i.metrics.distances.kernel import kernel_distance
from kdx2i.metrics.extractors.extractor import build_extractor, extract
from kdx2i.metrics.segmentation.segmenter import TrainedSegmenter, UNet
from kdx2i.metrics.segmentation.settings import SegmenterSettings
from kdx2i.stages.folder_request import parse_metrics

OPTIONS = ["--extractor", "efficientnet-lite0", "--input-size", "32", "--device", "cpu"]


def picture(seed: int, side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BILINEAR))


def fill(folder: Path, count: int, seed: int, names: str = "p{:02d}.png") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / names.format(number) for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(picture(seed + number)).save(path)
    return paths


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two classes; 6 generated images a class (2 outputs of each of 3 sources) and 5 reference images."""
    root = tmp_path_factory.mktemp("folders")
    for number, name in enumerate(("cat", "dog")):
        for source in range(3):
            fill(root / "generated" / name, 2, 1000 * number + 10 * source, f"s{source}_{{}}.png")
        fill(root / "real" / name, 5, 1000 * number + 500)
    return root / "generated", root / "real"


def score(*words: object) -> int:
    return main(["score", *map(str, words), *OPTIONS])


def result(path: Path, *words: object) -> dict[str, Any]:
    assert score(*words, "--json", path) == 0
    return json.loads(path.read_text())


def test_json_on_standard_output_is_alone_there(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--generated", folders[0], "--reference", folders[1], "--metrics", "fid")
    assert score(*words, "--json", "-") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["values"] == result(tmp_path / "out.json", *words)["values"]
    assert "FID" in captured.err


def tensor(folder: Path) -> torch.Tensor:
    files = sorted(folder.rglob("*.png"))
    return torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files])


def test_the_values_are_those_of_the_functions(folders: tuple[Path, Path], tmp_path: Path) -> None:
    document = result(tmp_path / "out.json", "--generated", folders[0], "--reference", folders[1])
    extractor = build_extractor("efficientnet-lite0", input_size=32)
    generated, real = (extract(extractor, tensor(folder)) for folder in folders)
    values = document["values"]
    assert values["FID"]["value"] == pytest.approx(frechet_distance(generated, real), rel=1e-9)
    assert values["KIDx100"]["value"] == pytest.approx(100 * kernel_distance(generated, real), rel=1e-9)
    pairs = [(generated[:6], real[:5]), (generated[6:], real[5:])]
    assert values["mFID"]["value"] == pytest.approx(sum(frechet_distance(*pair) for pair in pairs) / 2, rel=1e-6)
    kids = [100 * kernel_distance(*pair) for pair in pairs]
    assert values["mKIDx100"]["value"] == pytest.approx(sum(kids) / 2, rel=1e-6)
    assert values["LPIPS"]["n_sources"] == 6
    assert values["LPIPS"]["lpips_network"] == "efficientnet-lite0"
    assert values["FC"]["note"] == "tested on all reference images: no held-out split is known"
    assert values["mIoU"] == {"value": None, "reason": "it needs --labels and --segmenter"}
    assert all(entry["n_generated"] == 12 for name, entry in values.items() if name != "mIoU")
    for entry in values.values():
        if entry["value"] is not None:
            assert math.isfinite(entry["value"])
            low, high = entry.get("interval") or (-math.inf, math.inf)
            assert low <= entry["value"] <= high
    assert document["generated"]["classes"] == ["cat", "dog"]
    assert document["protocol"]["extractor_sha256"] == extractor.weights_sha256
    assert document["protocol"]["preprocessing"] == "clean"
    assert document["packages"]["torch"] == torch.__version__.partition("+")[0]


def test_the_same_images_give_the_same_bytes_whatever_their_place(folders: tuple[Path, Path], tmp_path: Path) -> None:
    archive = tmp_path / "generated.zip"
    with zipfile.ZipFile(archive, "w") as handle:
        for file in sorted(folders[0].rglob("*.png"), reverse=True):
            handle.write(file, file.relative_to(folders[0]).as_posix())
    asked = ("--reference", folders[1], "--metrics", "fid,kid,mfid,mkid,rc,fc,is")
    first = result(tmp_path / "a.json", "--generated", folders[0], *asked)
    second = result(tmp_path / "b.json", "--generated", archive, *asked, "--batch", 5)
    assert first["values"] == second["values"]
    assert first["generated"]["content_sha256"] == second["generated"]["content_sha256"]
    again = tmp_path / "c.json"
    assert score("--generated", folders[0], *asked, "--json", again) == 0
    assert again.read_bytes() == (tmp_path / "a.json").read_bytes()


def test_flat_folders_have_pooled_metrics_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "generated", 12, 0)
    fill(tmp_path / "real", 11, 50)
    document = result(tmp_path / "out.json", "--generated", tmp_path / "generated", "--reference", tmp_path / "real")
    values = document["values"]
    pooled = {"FID", "KIDx100", "IS", "Precision", "Recall"}
    assert {name for name, entry in values.items() if entry["value"] is not None} == pooled
    assert values["mFID"]["reason"].startswith("both sets are flat")
    assert values["LPIPS"]["reason"].startswith("the names of the generated images do not say which share a source")
    shown = " ".join(capsys.readouterr().out.split())
    assert "FID ↓" in shown
    assert "both sets are flat" in shown


def test_a_metric_without_a_value_says_why_and_the_others_have_theirs(tmp_path: Path) -> None:
    for name, counts in (("cat", (1, 5)), ("dog", (6, 5))):
        fill(tmp_path / "generated" / name, counts[0], 3)
        fill(tmp_path / "real" / name, counts[1], 90)
    document = result(tmp_path / "out.json", "--generated", tmp_path / "generated", "--reference", tmp_path / "real")
    reason = "class cat has 1 generated and 5 reference images, and two of each are needed"
    assert document["values"]["mFID"] == {"value": None, "reason": reason}
    assert document["values"]["RC"]["value"] is not None
    assert "there are 7 generated images" in document["values"]["IS"]["reason"]


def test_infinity_needs_images(folders: tuple[Path, Path], tmp_path: Path) -> None:
    generated, real = folders
    document = result(
        tmp_path / "o.json", "--generated", generated, "--reference", real, "--metrics", "fid", "--infinity"
    )
    assert list(document["values"]) == ["FID", "FIDinf"]
    assert document["values"]["FIDinf"]["value"] is None
    assert document["values"]["FIDinf"]["reason"]


def test_infinity_says_where_its_line_does_not_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "generated", 52, 0)
    fill(tmp_path / "real", 12, 500)
    asked = ("--generated", tmp_path / "generated", "--reference", tmp_path / "real", "--metrics", "fid", "--infinity")
    entry = result(tmp_path / "out.json", *asked)["values"]["FIDinf"]
    assert math.isfinite(entry["value"])
    assert entry["linear"] is False
    assert entry["note"] == "from 26 to 52 generated images, too few for 1280 features: a direction, not a value"
    assert "a direction, not a value" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_segmenter_that_agrees_with_the_label_maps_scores_100(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    settings, classes = SegmenterSettings(width=4), ("background", "face", "eye")
    segmenter = TrainedSegmenter(settings, classes, 32, 1, UNet(4, len(classes)).eval())
    segmenter.save(tmp_path / "segmenter.safetensors")
    files = fill(tmp_path / "generated", 3, 0, "face_{}.png")
    fill(tmp_path / "real", 2, 9)
    labels = tmp_path / "labels"
    labels.mkdir()
    for file, labelled in zip(files, segmenter.segment(tensor(tmp_path / "generated")), strict=True):
        Image.fromarray(labelled.numpy()).save(labels / file.name)
    asked = ["--generated", tmp_path / "generated", "--reference", tmp_path / "real", "--metrics", "miou"]
    asked += ["--segmenter", tmp_path / "segmenter.safetensors", "--labels", labels]
    entry = result(tmp_path / "out.json", *asked)["values"]["mIoU"]
    assert entry["value"] == 100.0
    assert entry["interval"] == [100.0, 100.0]
    assert entry["segmenter_sha256"] == segmenter.sha256

    def refused(sentence: str, *more: object) -> None:
        assert score(*asked, *more) == 2
        assert sentence in capsys.readouterr().err

    refused("do not have the same classes", "--label-order", "celebamask-hq")
    refused("--label-order ade20k is unknown", "--label-order", "ade20k")
    (tmp_path / "79999_iter.pth").write_bytes(b"no weights")
    refused("does not hold the weights of the face parser", "--segmenter", tmp_path / "79999_iter.pth")
    (labels / "face_2.png").unlink()
    refused("has no label map for face_2.png: it needs face_2.png or face.png")
    # The map of a source is that of all its outputs.
    (labels / "face_1.png").unlink()
    Image.fromarray(np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) % 3).save(labels / "face.png")
    assert result(tmp_path / "out.json", *asked)["values"]["mIoU"]["value"] < 100.0
    Image.fromarray(picture(0)).save(labels / "face.png")
    refused("holds colours (RGB), not class numbers")


def test_every_protocol_is_scored_or_named(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights"))
    monkeypatch.delenv("KDX2I_INCEPTION_WEIGHTS", raising=False)
    generated, real = folders
    asked = ("--generated", generated, "--reference", real, "--metrics", "fid,kid,mfid,mkid", "--all-protocols")
    document = result(tmp_path / "out.json", *asked)
    protocols = document["protocols"]
    assert list(protocols["not_computed"]) == ["inception-v3-compat", "inception-v3-torchvision"]
    assert "weights" in protocols["not_computed"]["inception-v3-compat"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "The same images under every registered protocol" in shown
    assert "not computed: inception-v3-compat" in shown

    def value(metric: str, **choices: str) -> float:
        own = {"extractor": "efficientnet-lite0", "preprocessing": "clean", "generated": "all"}
        choice = {"metric": metric, **own, **choices}
        (entry,) = [m for m in protocols["measurements"] if choice.items() <= m.items()]
        return entry["value"]

    values = document["values"]
    assert value("FID") == pytest.approx(values["FID"]["value"], rel=1e-9)
    assert value("mFID") == pytest.approx(values["mFID"]["value"], rel=1e-6)
    assert value("KIDx100", kid="full-set") == pytest.approx(values["KIDx100"]["value"], rel=1e-6)
    assert value("mKIDx100", kid="full-set") == pytest.approx(values["mKIDx100"]["value"], rel=1e-6)
    other = build_extractor("efficientnet-lite0", input_size=32, preprocessing="tf1")
    features = [extract(other, tensor(folder)) for folder in folders]
    assert value("FID", preprocessing="tf1") == pytest.approx(frechet_distance(*features), rel=1e-9)
    half = extract(build_extractor("efficientnet-lite0", input_size=32), tensor(generated)[::2])
    again = extract(build_extractor("efficientnet-lite0", input_size=32), tensor(real))
    assert value("FID", generated="half") == pytest.approx(frechet_distance(half, again), rel=1e-9)
    assert len({value("KIDx100", kid=kid) for kid in ("full-set", "torch-fidelity", "clean-fid")}) == 3
    assert {m["real"] for m in protocols["measurements"] if "real" in m} == {"all"}


def test_the_protocol_of_stargan_v2(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, weights = random_torchvision(tmp_path, monkeypatch)
    options = {"extractor": "inception-v3-torchvision", "preprocessing": "stargan-v2", "weights": weights}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    # Reference images of another size are brought to that of the generated ones first.
    for number, file in enumerate(fill(tmp_path / "real", 4, 3)):
        Image.open(file).resize((40, 48), number % 2).save(file)
    fill(tmp_path / "generated", 12, 90)
    asked = ["--generated", tmp_path / "generated", "--reference", tmp_path / "real", "--metrics", "fid,is"]
    out = tmp_path / "out.json"
    assert main(["score", *map(str, asked), *words, "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["protocol"]["image_size"] == 32
    assert document["protocol"]["is"] == document["values"]["IS"]["convention"] == "deepi2i"
    assert document["protocol"]["extractor_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    extractor = build_extractor(
        "inception-v3-torchvision", weights_path=weights, preprocessing="stargan-v2", image_size=32
    )
    features = [extract(extractor, tensor(tmp_path / name)) for name in ("generated", "real")]
    assert document["values"]["FID"]["value"] == pytest.approx(frechet_distance(*features), rel=1e-9)
    assert main(["score", *map(str, asked), *words[:2]]) == 2  # `clean` is not this network's


def test_mistakes_are_one_sentence(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generated, real = folders
    fill(tmp_path / "other" / "cat", 3, 0)
    fill(tmp_path / "other" / "cow", 3, 9)
    fill(tmp_path / "one", 1, 0)
    fill(tmp_path / "numbered", 101, 0, "image_{:03d}.png")
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    fill(broken, 3, 0)[1].write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    cases = [
        ((generated, tmp_path / "nowhere"), [], "does not exist"),
        ((tmp_path / "empty", real), [], "holds no image"),
        ((broken, real), [], "p01.png"),
        (
            (generated, tmp_path / "other"),
            ["--metrics", "mfid"],
            "the generated images have no class cow, the reference ",
        ),
        ((tmp_path / "one", real), ["--metrics", "fid"], "there is 1 generated image, and two are needed"),
        ((generated, real), ["--metrics", "fid,fvd"], "there is no metric fvd; choose from fid, kid, is"),
        ((generated, real), ["--metrics", ","], "--metrics names no metric"),
        ((generated, real), ["--metrics", "miou"], "miou cannot be computed: it needs --labels and --segmenter"),
        ((tmp_path / "numbered", real), ["--metrics", "lpips"], "101 images under one source, image"),
        ((generated, real), ["--device", "tpu"], "--device tpu is unknown"),
        ((generated, real), ["--preprocessing", "lanczos"], "--preprocessing lanczos is unknown"),
        ((generated, real), ["--json", tmp_path], "is a folder: name a file"),
        ((generated, real), ["--json", generated / "cat" / "s0_0.png" / "x.json"], "cannot be written"),
    ]
    for (generated, reference), more, sentence in cases:
        words = ["score", "--generated", generated, "--reference", reference, *OPTIONS, *more]
        assert main([str(word) for word in words]) == 2, sentence
        error = capsys.readouterr().err
        assert "error: " in error
        assert sentence in error
        assert "Traceback" not in error


def test_nothing_is_written_when_a_named_metric_fails(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert score("--generated", folders[0], "--reference", folders[1], "--metrics", "fid,miou", "--json", out) == 2
    assert list(tmp_path.iterdir()) == []


def test_missing_inception_weights_say_what_works_without(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("KDX2I_INCEPTION_WEIGHTS", raising=False)
    monkeypatch.setattr("kdx2i.metrics.extractors.weights.INCEPTION_URL", (tmp_path / "nowhere.pth").as_uri())
    assert main(["score", "--generated", str(folders[0]), "--reference", str(folders[1])]) == 2
    error = capsys.readouterr().err
    assert "curl" in error
    assert "or use --extractor efficientnet-lite0, whose weights come with a package" in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--generated", "a", "--reference", "b", "--dataset", "open-birds"], "--dataset does not go with --generated"),
        (["--generated", "a", "--reference", "b", "--preset", "open"], "--preset does not go with --generated"),
        (["--generated", "a"], "--reference is missing: evaluate takes --generated and --reference, or --dataset"),
        (["--dataset", "open-birds", "--mode", "latent"], "--architecture is missing"),
        (["--dataset", "open-birds", "--metrics", "fid"], "--metrics does not go with a run"),
        ([], "--dataset is missing: evaluate takes --generated and --reference, or --dataset"),
    ],
)
def test_the_two_forms_are_not_mixed(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error


def test_the_former_command_still_scores_folders_and_says_its_new_name(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--generated", folders[0], "--reference", folders[1], "--metrics", "fid,mkid", *OPTIONS, "--seed", 3]
    assert main([str(word) for word in ("evaluate", *asked, "--json", tmp_path / "former.json")]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "`kdx2i evaluate --generated ...` is now `kdx2i score --generated ...`" in told
    assert main([str(word) for word in ("score", *asked, "--json", tmp_path / "now.json")]) == 0
    assert "is now" not in capsys.readouterr().err
    assert (tmp_path / "former.json").read_bytes() == (tmp_path / "now.json").read_bytes()
    assert json.loads((tmp_path / "now.json").read_text())["protocol"]["seed"] == 3


def test_metrics_are_read_from_a_list() -> None:
    assert parse_metrics(None) is None
    assert parse_metrics("FID, kid,fid") == ("FID", "KIDx100")
