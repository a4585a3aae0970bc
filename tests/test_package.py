"""What a package owes its users: one version everywhere, types in the wheel, names completed by the shell."""

import os
import py_compile
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from repository import ROOT, clone, run, run_alone
from workflows import git

import kdx2i

NAMES = {
    "train --preset open-s": ["open-smoke"],
    "compare --preset paper": ["paper", "paper-smoke"],
    "table table": [f"table{number}" for number in range(1, 8)],
    "show app": ["appendix_b4"],
    "figure figure3": ["figure3a"],
    "split --dataset open-fe": ["open-felid2canid"],
    "distill --architecture st": ["stargan_v2"],
    "evaluate --transfer kd-a": ["kd-adv"],
    "restore --preset nothing": [],
}


def completed(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask for completions as bash does, and fail if that imports torch."""
    environment = {name: value for name, value in os.environ.items() if name != "KDX2I_ROOT"} | {
        "PYTHONPATH": str(ROOT),
        "_KDX2I_COMPLETE": "complete_bash",
        "COMP_WORDS": f"kdx2i {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    code = "import sys\nsys.modules['torch'] = None\nfrom kdx2i.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == kdx2i.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == kdx2i.__version__
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[:2] == ["Unreleased", kdx2i.__version__]


def test_the_version_names_the_commit_of_a_checkout_only(tmp_path: Path) -> None:
    root = clone(tmp_path / "outer" / "copy")
    words = (sys.executable, "-m", "kdx2i", "--version")
    # A package inside a repository of something else is no checkout.
    git(tmp_path / "outer", "init", "-q")
    git(tmp_path / "outer", "commit", "-qm", "something else", "--allow-empty")
    outside = run_alone(root, *words)
    assert (outside.returncode, outside.stdout) == (0, f"kdx2i {kdx2i.__version__}\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    commit = git(root, "rev-parse", "HEAD").strip()
    assert run_alone(root, *words).stdout == f"kdx2i {kdx2i.__version__} (commit {commit})\n"
    with (root / "params.yaml").open("a") as handle:
        handle.write("# changed\n")
    assert run_alone(root, *words).stdout == f"kdx2i {kdx2i.__version__} (commit {commit}, modified)\n"


@pytest.mark.parametrize("words", NAMES)
def test_the_shell_completes_names(words: str) -> None:
    done = completed(words, ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == NAMES[words]


def test_outside_the_repository_completion_is_silent(tmp_path: Path) -> None:
    done = completed("train --preset o", tmp_path)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_the_completion_can_be_installed() -> None:
    # Without this the option takes no shell's name, but asks which shell is running.
    environment = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1"
    done = run(ROOT, "env", environment, sys.executable, "-m", "kdx2i", "--show-completion", "bash")
    assert done.returncode == 0
    assert "_KDX2I_COMPLETE=complete_bash" in done.stdout


@pytest.mark.skipif(
    find_spec("setuptools") is None or find_spec("pip") is None, reason="pip or the build backend setuptools is absent"
)
def test_a_wheel_tells_that_it_has_types(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "kdx2i", source / "kdx2i", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    words = ("-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(tmp_path))
    done = run(tmp_path, sys.executable, *words, str(source))
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("kdx2i-*.whl"))) as wheel:
        names = wheel.namelist()
    assert "kdx2i/py.typed" in names and "kdx2i/frames.py" in names


def test_bytecode_of_an_older_source_is_never_run(tmp_path: Path) -> None:
    """The old source had the same size and time, as after a checkout within one second."""
    package = tmp_path / "kdx2i"
    package.mkdir()
    (package / "__init__.py").write_bytes((ROOT / "kdx2i/__init__.py").read_bytes())
    module = package / "sample.py"

    def value(source: str) -> str:
        module.write_text(source)
        os.utime(module, (1_000_000_000, 1_000_000_000))
        ask = [sys.executable, "-c", "import kdx2i.sample as s; print(s.VALUE, s.__cached__)"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return subprocess.run(ask, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    module.write_text("VALUE = 1\n")
    os.utime(module, (1_000_000_000, 1_000_000_000))
    py_compile.compile(str(module), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    first, cached = value("VALUE = 2\n").split()
    assert first == "2"
    written = Path(cached).read_bytes()
    assert written[4:8] == b"\3\0\0\0"
    assert value("VALUE = 2\n").split()[0] == "2"
    assert Path(cached).read_bytes() == written
    assert value("VALUE = 3\n").split()[0] == "3"
    assert Path(cached).read_bytes() != written
