"""A run as an RO-Crate, the drawings as a Croissant data set, and the model cards: made by commands and checked."""

import itertools
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from repository import ROOT, kdx2i

from kdx2i.errors import UserError
from kdx2i.inspection import croissant, model_cards
from kdx2i.inspection.crate import write_crate
from kdx2i.report.sources import Source, reference_sources

VALIDATOR = "KDX2I_CRATE_VALIDATOR"
"""Names a Python that has roc-validator, which needs other versions of libraries than the suite (`.ci/run` has one)."""


@pytest.fixture(scope="module")
def crate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("standards") / "crate"
    done = kdx2i(ROOT, "crate", str(target), "--reference", "open-ablation")
    assert done.returncode == 0, done.stderr
    return target


def entities(crate: Path) -> dict[str, dict]:
    return {item["@id"]: item for item in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]}


def test_a_crate_holds_the_run_with_its_evidence(crate: Path) -> None:
    described = entities(crate)
    run = described["#run"]
    assert run["instrument"] == {"@id": "Snakefile"}
    assert "startTime" not in run and "endTime" not in run  # nobody recorded it of a reference
    assert "When it ran is not recorded" in run["description"]
    made = {item["@id"] for item in run["result"]}
    assert {"results/tables/figure3b.csv", "results/tables/appendix_b4.json"} <= made
    log = "results/runs/open-birds/stargan_v2/kd/r64/s2/log.jsonl"
    assert log in made
    for name in (*made, *(item["@id"] for item in run["object"]), "Snakefile"):
        assert (crate / name).is_file()
    home = ROOT / "results" / "reference" / "open-ablation"
    assert (crate / log).read_bytes() == (home / log.removeprefix("results/")).read_bytes()
    everything = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert {name.removeprefix("results/") for name in made} == everything


def test_the_crate_is_valid(crate: Path) -> None:
    python = os.environ.get(VALIDATOR) or (sys.executable if find_spec("rocrate_validator") else None)
    if python is None:
        pytest.skip(f"roc-validator is not installed, and {VALIDATOR} names no Python that has it")
    spec = find_spec("rocrate")
    assert spec is not None
    context = Path(str(spec.origin)).with_name("data") / "ro-crate.jsonld"
    command = [python, str(ROOT / "tests/support/validate_crate.py"), str(crate), str(context), "workflow-run-crate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"passed": True, "issues": []}


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    source = reference_sources(ROOT, ["open-ablation"])[0]
    with pytest.raises(UserError, match="is there and not empty"):
        write_crate(source, tmp_path)
    with pytest.raises(UserError, match="there is no finished run to export"):
        write_crate(Source(ROOT, source.folder, "open", (), ()), tmp_path / "new")


def test_the_croissant_file_is_what_the_drawings_are() -> None:
    assert (ROOT / croissant.FILE).read_text(encoding="utf-8") == croissant.render(ROOT)


def test_mlcroissant_reads_the_drawings() -> None:
    library = pytest.importorskip("mlcroissant")
    dataset = library.Dataset(jsonld=str(ROOT / croissant.FILE))
    (first,) = itertools.islice(dataset.records("manifest"), 1)
    assert first["manifest/class"] == b"bear"
    assert len(list(dataset.records("packages"))) == 10


def test_the_model_cards_are_what_the_provenance_says() -> None:
    page = (ROOT / model_cards.PAGE).read_text(encoding="utf-8")
    assert page == model_cards.render(ROOT)
    weights = [path.stem for kind in model_cards.TITLES for path in (ROOT / "benchmarks" / kind).glob("*.safetensors")]
    assert sorted(line[4:] for line in page.splitlines() if line.startswith("### ")) == sorted(weights)
    assert "the file here is another one" not in page


def test_the_citation_file_is_complete() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    needed = {"cff-version", "title", "abstract", "message", "type", "license", "version", "date-released", "keywords"}
    assert needed | {"authors", "references"} <= set(citation)
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Wang", "van de Weijer", "Yu", "Jui"]
    assert paper["type"] == "conference-paper"
