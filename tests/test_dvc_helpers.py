"""What is given to DVC of the published setting, and the losses that its plots draw."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

from kdx2i.errors import UserError
from kdx2i.inspection.curves import POINTS, write_curves
from kdx2i.inspection.track import track
from kdx2i.plan.kinds import SPLIT
from kdx2i.suite import make_plan
from tests.support.repository import clone, fabricate, settings_copy


@pytest.mark.workflow
def test_archives_and_their_splits_are_given_to_dvc(tmp_path: Path) -> None:
    root = clone(tmp_path / "copy")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / "data/raw/animal-faces.tar.gz").write_bytes(b"1234")
    plan = make_plan(root, "paper")
    fabricate(plan, next(leaf for leaf in plan.rendered("table1").upstream() if leaf.kind is SPLIT))
    given = track(plan, ["table1"])
    assert given == ["data/raw/animal-faces.tar.gz", "data/animal-faces"]
    command = ["git", "ls-files", "--others", "--cached", "--exclude-standard", "data", "weights"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.split()
    readmes = {"data/raw/README.md", "weights/README.md"}
    assert set(listed) - {"data/.gitignore"} == readmes | {f"{name}.dvc" for name in given}, "no bytes in Git"


def test_a_curve_has_the_last_step_and_a_bounded_number_of_points(tmp_path: Path) -> None:
    plan = make_plan(settings_copy(tmp_path), "open-smoke")
    run = tmp_path / "results/open-smoke/runs/open-birds/stargan_v2/kd/r32/s0"
    run.mkdir(parents=True)
    (run / "log.jsonl").write_text("".join(json.dumps({"step": 10 * n, "a": n, "b": -n}) + "\n" for n in range(5000)))
    (path,) = write_curves(plan)
    assert path.name == "runs-open-birds-stargan_v2-kd-r32-s0.csv"
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 * POINTS and rows[-1] == {"step": "49990", "loss": "b", "value": "-4999"}
    (run / "log.jsonl").write_text("[1, 2]\n")
    with pytest.raises(UserError, match="is not the log of a training"):
        write_curves(plan)
