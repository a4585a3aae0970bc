"""Whoever is alone in a tree clears away what killed processes left; nobody touches what others work on."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdx2i.cli.locking import making
from kdx2i.files import write_json
from kdx2i.inspection.at_work import JOBS, WORKFLOWS, enter_job, enter_workflow

RESULTS = Path("results/some")
IDENTITY, OTHER = "a" * 64, "b" * 64
LEFT = (
    "results/some/runs/x/.networks.safetensors.k2j3_x.part",
    "results/some/.work/features/.tmpANatuy",
    "results/.locks/0123456789abcdef",
    f"results/some/.work/{IDENTITY}/checkpoint.safetensors",
    "data/set/.split.csv.abc.part",
)
KEPT = (
    "results/some/runs/x/networks.safetensors",
    f"results/some/.work/{OTHER}/checkpoint.safetensors",
    "results/other/.a.part",
    "data/set/split.csv",
    ".gitignore",
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "tree"
    for name in (*LEFT, *KEPT):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    write_json(root / RESULTS / "runs/x/provenance.json", {"identity": IDENTITY})
    (root / RESULTS / "runs/x/s0.provenance.json").write_text('{"identity": "aa')
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(root)
    return root


def there(root: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (root / name).exists()]


def test_a_job_that_is_alone_clears_away_what_killed_ones_left(tree: Path) -> None:
    with enter_job(tree, RESULTS) or pytest.fail("no lock"):
        assert there(tree, LEFT) == []
        assert not (tree / RESULTS / ".work" / IDENTITY).exists()
        assert there(tree, KEPT) == list(KEPT)


def test_whoever_makes_a_result_is_at_work(tree: Path) -> None:
    """Each command that makes one, of whatever kind, goes through the lock of the result."""
    leaf: Any = SimpleNamespace(root=tree, results=RESULTS, name="results/some/tables/table1")
    with making(leaf):
        assert there(tree, LEFT[:2]) == []
        (tree / LEFT[0]).write_text("being written")
        with making(SimpleNamespace(root=tree, results=RESULTS, name="another")):  # type: ignore[arg-type]
            assert there(tree, LEFT) == [LEFT[0]]
    with making(leaf):
        assert there(tree, LEFT) == []


def test_a_job_beside_another_one_leaves_everything(tree: Path) -> None:
    with enter_job(tree, RESULTS) or pytest.fail("no lock"):
        (tree / LEFT[0]).write_text("being written")
        with enter_job(tree, RESULTS) or pytest.fail("no lock"), enter_job(tree, RESULTS) or pytest.fail("no lock"):
            assert there(tree, LEFT) == [LEFT[0]]
        enter_workflow(tree, RESULTS, [])
        assert there(tree, LEFT) == [LEFT[0]]


def snakemake_folder(beside: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="snakemake", dir=beside))


def killed_workflow(tree: Path, *folders: Path) -> None:
    """A process enters as a workflow, takes Snakemake's lock and is killed."""
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom kdx2i.inspection.at_work import enter_workflow\n"
        "held = enter_workflow(Path(sys.argv[1]), Path('results/some'), sys.argv[2:])\n"
        "Path('.snakemake/locks').mkdir(parents=True)\nPath('.snakemake/locks/0.input.lock').write_text('a')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    package = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tree), *map(str, folders)],
        cwd=tree, env={**os.environ, "PYTHONPATH": package}, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL


def test_the_lock_and_the_folders_of_a_killed_snakemake_are_removed_by_the_next(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    temporary = Path(tempfile.gettempdir())
    cache = temporary / "cache" / "snakemake-runtime-cache"
    cache.mkdir(parents=True)
    folders = [snakemake_folder(temporary), snakemake_folder(cache)]
    strangers = [temporary / "precious", tree / "benchmarks"]
    for folder in strangers:
        folder.mkdir()
    killed_workflow(tree, *folders, *strangers)
    first = enter_workflow(tree, RESULTS, [])
    assert first is not None
    assert not list((tree / ".snakemake/locks").iterdir())
    assert [folder.exists() for folder in (*folders, *strangers)] == [False, False, True, True]
    assert capsys.readouterr().err == "a workflow was killed here: its lock is removed\n"
    assert there(tree, LEFT) == []


def test_the_lock_of_a_living_snakemake_stays(tree: Path) -> None:
    first = enter_workflow(tree, RESULTS, [])
    lock = tree / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("a")
    second = enter_workflow(tree, RESULTS, [])
    assert first is not None and second is not None and lock.exists()


def test_a_lock_that_no_snakemake_of_these_made_stays(tree: Path) -> None:
    """One of before, or one that ran with another folder of work: `--unlock` is the user's to say."""
    lock = tree / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("a")
    assert enter_workflow(tree, RESULTS, []) is not None
    assert lock.exists()


def add_note(path: Path, **note: object) -> None:
    path.write_text(f"{path.read_text()}{json.dumps(note)}\nno JSON\n[]\n")


def test_what_another_machine_left_stays(tree: Path) -> None:
    """Its file system may keep locks to each machine: it may still be at work."""
    killed_workflow(tree)
    assert json.loads((tree / WORKFLOWS).read_text())["host"] == socket.gethostname()
    (tree / LEFT[0]).write_text("being written there")
    lock = tree / ".snakemake/locks/0.input.lock"
    for path in (tree / WORKFLOWS, tree / JOBS):
        add_note(path, host="elsewhere", boot="another", folders=[])
    for _ in range(2):  # Nor does it go by being looked at.
        held = enter_workflow(tree, RESULTS, [])
        assert held is not None
        held.close()
        assert lock.exists()
        assert there(tree, LEFT) == [LEFT[0]]


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="no number of the kernel's start")
def test_what_another_container_of_this_machine_left_is_removed(tree: Path) -> None:
    killed_workflow(tree)
    (tree / LEFT[0]).write_text("was being written there")
    boot = json.loads((tree / WORKFLOWS).read_text())["boot"]
    for path in (tree / WORKFLOWS, tree / JOBS):
        add_note(path, host="a container", boot=boot, folders=[])
    assert enter_workflow(tree, RESULTS, []) is not None
    assert not (tree / ".snakemake/locks/0.input.lock").exists()
    assert there(tree, LEFT) == []


def test_where_nothing_can_be_locked_nothing_is_removed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert enter_job(tree, RESULTS) is None
    assert there(tree, LEFT) == list(LEFT)
    (tree / JOBS).unlink()
    (tree / JOBS).mkdir()
    assert enter_job(tree, RESULTS) is None
