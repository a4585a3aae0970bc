"""Results of earlier code: taken over where the first steps of their training are the same bits, refused elsewhere."""

from pathlib import Path

import pytest
from repository import kdx2i
from workflows import working_copy

from kdx2i.files import read_json, sha256_file

pytestmark = pytest.mark.workflow

RUN = "results/open-smoke/runs/open-birds/stargan_v2/kd/r32/s0"
STUDENT = "results/open-smoke/distilled/stargan_v2/kd/r32/s0"
WORDS = ("--preset", "open-smoke", "--architecture", "stargan_v2", "--transfer", "kd", "--resolution", "32")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, text.count(old))
    path.write_text(text.replace(old, new))


def test_a_harmless_change_is_adopted_and_a_wrong_one_refused(tmp_path: Path) -> None:
    root = working_copy(tmp_path / "copy")
    for made in (
        kdx2i(root, "split", "--dataset", "open-birds"),
        kdx2i(root, "distill", *WORDS),
        kdx2i(root, "train", "--dataset", "open-birds", *WORDS),
    ):
        assert made.returncode == 0, made.stderr
    first = read_json(root / RUN / "provenance.json")
    weights = sha256_file(root / RUN / "networks.safetensors")
    assert len(first["fingerprint"]) == 2, "the preset trains two steps"

    edit(root / "kdx2i/training/loop.py", "training diverged:", "the training diverged:")
    done = kdx2i(root, "adopt", "table1", "--preset", "open-smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{STUDENT}: adopted" in done.stdout and f"{RUN}: adopted" in done.stdout
    assert "2 results adopted, 0 not" in done.stdout
    told = read_json(root / RUN / "provenance.json")
    (adoption,) = told["adopted"]
    assert adoption["from"]["identity"] == first["identity"] and adoption["to"]["identity"] == told["identity"]
    assert adoption["from"]["code_sha256"] == first["code_sha256"] != adoption["to"]["code_sha256"]
    assert adoption["probe"] == {
        "steps": 2,
        "sha256": first["fingerprint"][-1],
        "machine": adoption["probe"]["machine"],
    }
    assert sha256_file(root / RUN / "networks.safetensors") == weights
    verified = kdx2i(root, "verify", "--preset", "open-smoke")
    assert verified.stdout == "3 of 3 results are current and whole\n"

    edit(root / "kdx2i/methods/families/stargan/method.py", " t.lambda_cyc)", " 1.001 * t.lambda_cyc)")
    before = (root / RUN / "provenance.json").read_bytes()
    done = kdx2i(root, "adopt", "table1", "--preset", "open-smoke")
    assert done.returncode == 1
    assert f"{RUN} is not adopted: under today's code its training differs from step 1 on" in done.stdout
    assert (root / RUN / "provenance.json").read_bytes() == before
