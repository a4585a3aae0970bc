"""Run the preset `paper-smoke` from made-up archives to verdicts, in a copy of the repository that is removed.

    python tests/workflow/paper_smoke.py [TARGET ...]

The targets are Snakemake's (`table1`, ...; all tables by default). Prints the minutes, the most memory that its
processes held together, and the disk that was filled; ends with Snakemake's status. The copy lies in TMPDIR.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from repository import clone  # noqa: E402

CORES = 2


def memory() -> int:
    """Return the bytes that this process and all below it hold."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def watched(root: Path, *command: str) -> tuple[int, int]:
    """Run a command in a copy; return its status and the most memory, in bytes."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(root), "KDX2I_ROOT": str(root), "PATH": path}
    environment.pop("OMP_NUM_THREADS", None)
    running = subprocess.Popen([sys.executable, *command], cwd=root, env=environment)
    most = 0
    while running.poll() is None:
        most = max(most, memory())
        time.sleep(1)
    return running.returncode, most


def main(targets: list[str]) -> int:
    """Make the inputs, run the targets and say what they took."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="paper-smoke-") as folder:
        root = clone(Path(folder))
        status, first = watched(root, str(ROOT / "tests/support/smoke_inputs.py"), str(root))
        most = first
        if status == 0:
            snakemake = ("-m", "snakemake", *targets, "--cores", str(CORES), "--config", "preset=paper-smoke")
            status, second = watched(root, *snakemake)
            most = max(first, second)
        disk = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    minutes = (time.monotonic() - start) / 60
    print(f"paper-smoke: {minutes:.0f} minutes, {most / 2**30:.1f} GiB of memory, {disk / 2**30:.1f} GiB of disk")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tables"]))
