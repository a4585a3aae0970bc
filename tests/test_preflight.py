"""What is missing from outside is listed before the first job: data, weights, metric networks, GPUs."""

import subprocess
import sys
from pathlib import Path

import pytest
import smoke_inputs
from typer.testing import CliRunner

from kdx2i.cli import app
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, write_json
from kdx2i.inspection.preflight import Need, needs, require_ready
from kdx2i.plan import Plan
from kdx2i.suite import make_plan
from kdx2i.workflow import made_of_large_files
from tests.support.repository import ROOT, clone


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone on a machine without caches and GPUs."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for name in ("INCEPTION", "ALEXNET", "VGG19"):
        monkeypatch.delenv(f"KDX2I_{name}_WEIGHTS", raising=False)
    return clone(tmp_path / "repository")


def by_name(plan: Plan, *tables: str) -> dict[str, Need]:
    return {need.name: need for need in needs(plan, tables)}


def test_the_default_has_all_that_it_needs(root: Path):
    plan = make_plan(root, "open")
    found = by_name(plan, "table1", "table2")
    assert all(need.there and need.size for need in found.values())
    assert found["benchmarks/students/stargan_v2-kd-r32.safetensors"].wanted_by == ("table1",)
    require_ready(plan, plan.tables)


def test_what_the_paper_needs_is_listed_once_with_how_to_get_it(root: Path):
    found = by_name(make_plan(root, "paper"), "table1", "table2", "table5")
    assert not any(need.there for need in found.values())
    kinds = [need.kind for need in found.values()]
    assert kinds == sorted(kinds, key=["data", "weights", "network", "GPU"].index)
    assert "https://github.com/NVlabs/FUNIT" in found["data/raw/animal-faces.tar.gz"].advice
    assert found["weights/ffhq-r256.safetensors"].wanted_by == ("table1", "table2", "table5")
    assert found["weights/ffhq-r256.safetensors"].advice.startswith("kdx2i teacher weights/ffhq-r256.safetensors")
    assert found["weights/cub-text.safetensors"].advice.startswith("kdx2i encoder weights/cub-text.safetensors")
    assert "curl" in found["inception-v3-compat"].advice
    assert found["alexnet"].wanted_by == ("table5",)
    assert found["VGG19"].wanted_by == ("table2",)
    # S2IGAN's speech encoder reads images by it, in the training and for R-precision.
    assert found["inception-v3-torchvision"].wanted_by == ("table2",)
    assert "inception_v3_google" in found["inception-v3-torchvision"].advice
    assert "1 GPU(s) a job" in found


def test_what_is_put_there_is_found(root: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("data/raw/animal-faces.tar.gz", "inception.pth"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1234")
    monkeypatch.setenv("KDX2I_INCEPTION_WEIGHTS", str(root / "inception.pth"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = by_name(make_plan(root, "paper"), "table1")
    there = {need.name for need in found.values() if need.there}
    files = {"data/raw/animal-faces.tar.gz", "inception-v3-compat"}
    assert there == files | {"1 GPU(s) a job"}
    assert {found[name].size for name in files} == {4}


def test_whoever_looks_reads_no_archive(root: Path, monkeypatch: pytest.MonkeyPatch):
    """13 GiB without a block on the disk, of which no byte is read; what is made of them reads them."""
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    archive = root / "data/raw/afhq.zip"
    monkeypatch.setattr(
        "kdx2i.identity.sha256_file",
        lambda path: pytest.fail("the archive is read") if path == archive else sha256_file(path),
    )
    archive.parent.mkdir(parents=True, exist_ok=True)
    with archive.open("wb") as handle:
        handle.truncate(13 * 2**30)
    looked = CliRunner().invoke(app, ["data", "status", "table5", "--preset", "paper"])
    assert "4 of 5 missing" in looked.stdout and "1 not yet verified" in " ".join(looked.stdout.split())
    assert "unread" in looked.stdout and "13,312" in looked.stdout
    assert not made_of_large_files(root, "paper")
    split = make_plan(root, "open").split("open-birds")
    write_json(root / "data/afhq-500/provenance.json", {"files": {"data/raw/afhq.zip": "0" * 64}})
    write_json(root / "data/open-birds/provenance.json", {"files": split.files})
    assert made_of_large_files(root, "paper")


def test_all_that_the_smoke_preset_needs_can_be_made(root: Path):
    plan = make_plan(root, "paper-smoke")
    names = {smoke_inputs.file_of(root, need).name for need in needs(plan, plan.tables)}
    assert names == set(smoke_inputs.ARCHIVES) | set(smoke_inputs.WEIGHTS) | {"inception-v3-torchvision"}
    smoke_inputs.speech_encoder(root / "weights/smoke/oxford-102-speech.safetensors")
    assert "inception-v3-torchvision" not in by_name(make_plan(root, "paper-smoke"), "table2")


def test_a_workflow_is_told_in_one_sentence(root: Path):
    plan = make_plan(root, "paper")
    with pytest.raises(UserError) as told:
        require_ready(plan, ["table5"])
    assert str(told.value) == (
        "preset paper needs what is not here: data/raw/afhq.zip, weights/ffhq-r256.safetensors and 3 more; "
        "`kdx2i data status --preset paper` lists it and says how to get it"
    )


def test_a_cluster_has_its_own_gpus(root: Path, monkeypatch: pytest.MonkeyPatch):
    plan = make_plan(root, "paper")
    found = [need for need in needs(plan, ["table5"]) if need.kind == "GPU"]
    monkeypatch.setattr("kdx2i.inspection.preflight.needs", lambda *_: found)
    with pytest.raises(UserError, match=r"needs what is not here: 1 GPU\(s\) a job"):
        require_ready(plan, ["table5"])
    require_ready(plan, ["table5"], here=False)


def test_looking_for_the_defaults_networks_loads_no_pytorch():
    code = (
        "import sys; from pathlib import Path; from kdx2i.suite import make_plan\n"
        "from kdx2i.inspection.preflight import require_ready\n"
        f"plan = make_plan(Path({str(ROOT)!r}), 'open')\n"
        "require_ready(plan, plan.tables); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_the_command_exits_with_1_while_something_is_missing(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    missing = CliRunner().invoke(app, ["data", "status", "table5", "--preset", "paper"])
    assert missing.exit_code == 1
    assert "5 of 5 missing" in missing.stdout
    there = CliRunner().invoke(app, ["data", "status", "table5"])
    assert there.exit_code == 0
    assert "0 of " in there.stdout
