"""A new metric is one entry of the catalogue and the function that computes it, and the tables that ask for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.repository import clone, kdx2i, run

ENTRY = """
        Metric("brightness", "brightness", "Brightness", "lower", 1, "kdx2i.metrics.brightness:brightness"),
    )
}  # fmt: skip"""
FUNCTION = '''"""The difference of mean grey levels."""

from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.trial import Trial


def brightness(trial: Trial) -> Entry:
    """Return the absolute difference of the mean grey levels of both sets."""
    return {"value": abs(_mean(trial.generated) - _mean(trial.real.pooled_real))}


def _mean(images: EmbeddedSet) -> float:
    return float(images.pixels().double().mean())
'''
# In the place of a trained method: the references, darker.
SCRIPT = """
from pathlib import Path
from kdx2i.cli import main
from kdx2i.files import read_json, write_bytes
from kdx2i.provenance import write_provenance
from kdx2i.stages import evaluate
from kdx2i.suite import make_plan
from kdx2i.tables.assemble import Absent
from kdx2i.tables.comparison import compare
from kdx2i.tables.gather import build_table
from kdx2i.tables.published import read_published

class Painter:
    def generate(self, condition):
        return condition.references - 0.1

evaluate.load_method = lambda *_: Painter()
plan = make_plan(Path.cwd(), "open-smoke")
method = ["--architecture", "stargan_v2", "--transfer", "scratch"]
place = ["--dataset", "open-birds", "--resolution", "32", "--preset", "open-smoke"]
run = plan.run("open-birds", "stargan_v2", "scratch", 32, 0)
leaf = plan.evaluation("open-birds", "stargan_v2", "scratch", 32, 0, "latent")
assert main(["split", "--dataset", "open-birds", "--preset", "open-smoke"]) == 0
assert main(["classifier", *place]) == 0
assert main(["controls", *place]) == 0
for name in run.outputs:
    write_bytes(run.file(name), b"made up")
write_provenance(plan, run)
assert main(["evaluate", *place, *method, "--mode", "latent"]) == 0

def read(other):
    return read_json(other.file("metrics.json")) if other.provenance_path.is_file() else Absent("not made")

table = build_table(plan, "table1", read)
compared = compare([table], {"table1": read_published(plan.root, "table1")})
cells = [cell for cell in compared.cells if cell.metric == "brightness" and cell.reproduced is not None]
value = read_json(leaf.file("metrics.json"))["values"]["brightness"]["value"]
assert [cell.reproduced for cell in cells] == [value] and value > 1, cells
controls = [row for part in table.parts for row in part.controls()]
assert {row.label for row in controls if row.cell("birds", "brightness").mean is not None} == {
    row.label for row in controls
}
print("made", leaf.spec.metrics["brightness"])
"""


def put(folder: Path, level: int) -> Path:
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the metric is an entry, its function, and a column of Table 1."""
    copied = clone(tmp_path_factory.mktemp("copy") / "repository")
    catalogue = copied / "kdx2i" / "metric_catalogue.py"
    before, after = catalogue.read_text().split("\n    )\n}  # fmt: skip")
    catalogue.write_text(before + ENTRY + after)
    (copied / "kdx2i" / "metrics" / "brightness.py").write_text(FUNCTION)
    table = copied / "benchmarks" / "tables" / "table1.yaml"
    table.write_text(table.read_text().replace("[mKIDx100, mFID, RC, FC]", "[mKIDx100, mFID, RC, FC, brightness]"))
    return copied


def test_folders_are_scored_by_it(root: Path, tmp_path: Path) -> None:
    asked = ("--generated", put(tmp_path / "dark", 50), "--reference", put(tmp_path / "bright", 62))
    options = ("--extractor", "efficientnet-lite0", "--input-size", "32", "--device", "cpu")
    done = kdx2i(
        root, "score", *map(str, asked), *options, "--metrics", "brightness", "--json", str(tmp_path / "o.json")
    )
    assert done.returncode == 0, done.stderr
    assert "Brightness ↓" in done.stdout
    assert json.loads((tmp_path / "o.json").read_text())["values"] == {"brightness": {"value": 12.0}}


def test_a_table_and_the_comparison_have_it(root: Path) -> None:
    done = run(root, "python", "-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "made kdx2i.metrics.brightness:brightness"


def test_a_table_that_asks_for_an_unknown_metric_is_refused(root: Path) -> None:
    table = root / "benchmarks" / "tables" / "table3.yaml"
    table.write_text(table.read_text().replace("[FID, KIDx100]", "[FID, darkness]"))
    done = kdx2i(root, "check")
    assert done.returncode == 2
    sentence = "the metric `darkness` is unknown; there are FID, FIDinf, KIDx100, IS, mFID, mKIDx100, RC, FC, LPIPS,"
    more = "mIoU, R-precision, Precision, Recall, brightness"
    assert f"benchmarks/tables/table3.yaml: key `columns.metrics.1`: {sentence} {more}" in done.stderr
