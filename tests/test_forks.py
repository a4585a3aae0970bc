"""The commands that tests run as forks are what processes of their own would be."""

import sys

import psutil
import pytest
from forks import forks
from repository import clone, run, run_alone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux are commands forks")


@pytest.mark.parametrize(
    ("words", "status"),
    [(("kdx2i", "check", "--preset", "nothing"), 2), (("snakemake", "-n", "--config", "preset=nothing"), 1)],
)
def test_status_and_streams_are_those_of_a_process_of_its_own(tmp_path, words, status):
    """And the package is that of the copy."""
    root = clone(tmp_path / "copy")
    for name in ("kdx2i/cli/__init__.py", "kdx2i/workflow.py"):
        path = root / name
        path.write_text(path.read_text() + f"\nprint('{root.name}', 'has its own', flush=True)\n")
    found = run(root, sys.executable, "-m", *words)
    expected = run_alone(root, sys.executable, "-m", *words)
    assert (found.returncode, found.stdout, found.stderr) == (status, expected.stdout, expected.stderr)
    assert "copy has its own" in found.stdout


def test_what_forks_has_one_thread():
    assert psutil.Process(forks().process.pid).num_threads() == 1
