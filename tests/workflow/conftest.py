"""Working copies of the repository, without and with made-up results."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from workflows import pretend_finished, working_copy

from kdx2i.plan import Plan
from kdx2i.suite import make_plan


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return working_copy(tmp_path / "copy")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Build a folder once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def build(name: str, make: Callable[[Path], None]) -> Path:
        done = base / f"{name}.done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(base / name, ignore_errors=True)
                make(base / name)
                done.touch()
        return base / name

    return build


def _pretend(root: Path) -> None:
    pretend_finished(working_copy(root))


@pytest.fixture
def pretended(shared: Callable[[str, Callable[[Path], None]], Path], tmp_path: Path) -> Plan:
    """A copy of its own of a working copy with made-up results, without Snakemake's records."""
    root = shutil.copytree(shared("pretended", _pretend), tmp_path / "copy", symlinks=True)
    return make_plan(root, "open-smoke")
