"""Statistics of reference images as files: the suite's own and those of pytorch-fid and clean-fid."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cleanfid.fid import frechet_distance as clean_frechet_distance
from PIL import Image

from kdx2i.cli import main
from kdx2i.metrics.distances.frechet import frechet_distance
from kdx2i.stages.reference_statistics import Statistics, read_statistics

OPTIONS = ["--extractor", "efficientnet-lite0", "--input-size", "32", "--device", "cpu"]
REAL, GENERATED = 24, 18


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes on each side."""
    root = tmp_path_factory.mktemp("sets")
    for seed, (side, count) in enumerate((("real", REAL), ("generated", GENERATED))):
        drawn = np.random.default_rng(seed)
        for number in range(count):
            place = root / side / ("cat" if number % 2 else "dog")
            place.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(drawn.integers(0, 200 + 50 * seed, (4, 4, 3), dtype=np.uint8))
            coarse.resize((32, 32), Image.Resampling.BILINEAR).save(place / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def own(folders: Path) -> Path:
    """The suite's own file of the real images."""
    path = folders / "own.npz"
    assert main(["score", "--reference", str(folders / "real"), "--save-statistics", str(path), *OPTIONS]) == 0
    return path


def scored(folders: Path, reference: Path, *more: str) -> dict[str, Any]:
    out = folders / "values.json"
    words = ["score", "--generated", str(folders / "generated"), "--reference", str(reference), *OPTIONS]
    assert main([*words, "--json", str(out), *more]) == 0
    document: dict[str, Any] = json.loads(out.read_text())
    return document


def test_an_own_file_scores_as_the_images_do(folders: Path, own: Path) -> None:
    images, file = (scored(folders, reference) for reference in (folders / "real", own))
    named = ("FID", "KIDx100", "mFID", "mKIDx100", "Precision", "Recall", "RC", "FC")
    assert all(images["values"][name]["value"] is not None for name in named)
    assert file["values"] == images["values"]
    assert file["reference"]["content_sha256"] == images["reference"]["content_sha256"]
    assert file["reference"]["images"] == REAL


def test_scoring_saves_the_same_file(folders: Path, own: Path) -> None:
    scored(folders, folders / "real", "--save-statistics", str(folders / "again.npz"), "--metrics", "fid")
    assert (folders / "again.npz").read_bytes() == own.read_bytes()


def test_clean_fid_and_pytorch_fid_read_an_own_file(folders: Path, own: Path) -> None:
    held = np.load(own)
    feats = held["feats"]
    assert feats.shape == (REAL, 1280)
    assert np.allclose(held["mu"], feats.mean(0), rtol=1e-6)
    assert np.allclose(held["sigma"], np.cov(feats, rowvar=False), atol=1e-9)
    # What both libraries do with `mu` and `sigma`; the small term keeps the root real at few images.
    eye = 1e-3 * np.eye(len(held["mu"]))
    distance = clean_frechet_distance(held["mu"], held["sigma"] + eye, held["mu"] + 1, held["sigma"] + eye)
    assert float(np.real(distance)) == pytest.approx(1280, rel=1e-3)


@pytest.mark.parametrize("compressed", [False, True], ids=["pytorch-fid", "clean-fid"])
def test_mean_and_covariance_alone_give_fid(folders: Path, own: Path, compressed: bool) -> None:
    held = np.load(own)
    path = folders / "moments.npz"
    save = np.savez_compressed if compressed else np.savez
    save(path, mu=held["mu"], sigma=held["sigma"])
    document = scored(folders, path)
    exact = scored(folders, own, "--metrics", "fid")["values"]["FID"]["value"]
    fid = document["values"]["FID"]
    assert fid["value"] == pytest.approx(exact, rel=1e-6)
    assert not {"interval", "n_real", "standard_error"} & set(fid)
    assert document["reference"]["images"] is None
    for name in ("KIDx100", "Precision", "mFID"):
        assert document["values"][name]["value"] is None
        assert "mean and covariance only" in document["values"][name]["reason"]


def test_features_of_clean_fid_give_kid(folders: Path, own: Path) -> None:
    path = folders / "set_clean_custom_na_kid.npz"
    np.savez_compressed(path, feats=np.load(own)["feats"])
    values, exact = (scored(folders, one)["values"] for one in (path, own))
    for name in ("FID", "KIDx100", "Precision", "Recall"):
        assert values[name] == exact[name]
    assert values["mFID"]["value"] is None


def test_points_with_the_moments_of_a_file() -> None:
    drawn = np.random.default_rng(0)
    x, y = drawn.normal(size=(9, 5)), drawn.normal(size=(30, 5)) @ drawn.normal(size=(5, 5))
    for mu, sigma in ((y.mean(0), np.cov(y, rowvar=False)), (y.mean(0), np.zeros((5, 5)))):
        given = Statistics(Path("a.npz"), torch.from_numpy(mu), torch.from_numpy(sigma), None, torch.zeros(10).long())
        points = given.embedded().features[0:10].numpy()
        assert np.allclose(points.mean(0), mu, atol=1e-12)
        assert np.allclose(np.cov(points, rowvar=False), sigma, atol=1e-9)
        if sigma.any():
            assert frechet_distance(x, points) == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_what_is_no_statistics_is_refused(folders: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = dict(np.load(own))
    path = folders / "bad.npz"

    def refused(sentence: str, *more: str) -> None:
        words = ["score", "--generated", str(folders / "generated"), "--reference", str(path), *OPTIONS, *more]
        capsys.readouterr()
        assert main(words) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
        assert len(error) <= 330

    def write(**arrays: Any) -> None:
        np.savez(path, **arrays)

    write(mu=held["mu"])
    refused("holds no statistics")
    write(mu=held["mu"], sigma=held["sigma"][:5])
    refused("`sigma` is no covariance")
    write(mu=held["mu"], sigma=-held["sigma"])
    refused("negative eigenvalue")
    write(mu=held["mu"] * np.nan, sigma=held["sigma"])
    refused("not finite")
    write(feats=held["feats"][:, :7])
    refused("has 7 features an image, and efficientnet-lite0 gives 1280")
    write(feats=np.array([object()]))
    refused("not a whole .npz file")
    write(**{**held, "labels": held["labels"] + 7})
    refused("its labels do not number its classes")
    path.write_bytes(own.read_bytes()[:5000])
    refused("not a whole .npz file")
    path.write_bytes(b"")
    refused("not a whole .npz file")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mu.npy", bytes(10**8))
    refused("unpacks to 100000000 bytes")
    path.write_bytes(own.read_bytes())
    refused("was made with preprocessing clean, and tf1 is asked for", "--preprocessing", "tf1")
    refused("need the reference images", "--all-protocols")
    refused("need the reference images", "--cross-check")
    scored(folders, path, "--metrics", "fid")
    assert read_statistics(path).classes == ["cat", "dog"]
