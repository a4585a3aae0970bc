"""A warm server with an owner that a test can end, and waiting for what other processes do."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from repository import ROOT

from kdx2i import warm


def eventually(condition: Callable[[], bool], seconds: float = 150) -> bool:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


LIGHT = """
import sys, types
for name in ("torch", "torchvision.utils", "safetensors.torch", "scipy.linalg", "scipy.stats", "matplotlib.figure"):
    sys.modules[name] = types.ModuleType(name)
"""
"""A `sitecustomize` that spares a server the seconds of libraries whose names alone its jobs find."""


def light(folder: Path) -> dict[str, str]:
    """Return the environment of an owner whose server has no large library, for jobs that need none."""
    (folder / "sitecustomize.py").write_text(LIGHT)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


class Owner:
    """A process that has started a server, as Snakemake does, and waits."""

    def __init__(self, **environment: str) -> None:
        code = "import os, sys\nfrom kdx2i.warm import start\nstart(1)\nprint(os.environ['KDX2I_WARM'], flush=True)\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{code}sys.stdin.read()"],
            cwd=ROOT,
            env=plain_environment() | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != warm.ADDRESS}
