"""Commands of Python modules (`python -m kdx2i`, `snakemake`, `dvc`) as forks of one process that has their imports.

They take seconds of every process. A fork has its own arguments, folder, environment and streams. The modules of this
suite are there already as well, and stay where the repository in which it runs has the same bytes; from any other one
they are imported. The jobs of its workflows are served by a warm server (`kdx2i.warm`) that is a fork, too, where each
Snakemake would start one of its own.
"""

import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import runpy
import secrets
import select
import socket
import subprocess
import sys
import tempfile
from atexit import register
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = ("kdx2i", "snakemake", "dvc")
LIBRARIES = ("snakemake.cli", "snakemake.workflow", "snakemake.dag", "snakemake.scheduling.greedy", "dvc.cli",
             "dvc.repo", "dvc.commands.repro", "filelock", "jinja2", "psutil")  # fmt: skip
"""What commands import beside this suite and the libraries of the warm server."""


class Forks:
    """The process that forks, with the address of the warm server beside it."""

    def __init__(self) -> None:
        self.address = f"kdx2i-{os.getpid()}-{secrets.token_hex(8)}"
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, self.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")},
        )
        owner = os.getpid()
        register(lambda: os.getpid() == owner and self.end())

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m WORDS...` in a folder and return its exit status and what it printed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            streams = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in (out, err)]
            request = [list(words), str(folder), dict(environment), *streams]
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], timeout)[0]:
                self.end()
                _of_this_process.cache_clear()
                raise subprocess.TimeoutExpired(list(words), timeout)
            answer = self.process.stdout.readline()
            assert answer, f"the process that forks has ended: {self.process.wait()}"
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(words), int(answer), out.read(), err.read())

    def end(self) -> None:
        """End the process, and with it the warm server."""
        self.process.kill()
        self.process.communicate()


@cache
def _of_this_process() -> Forks:
    return Forks()


def forks() -> Forks:
    """Return the process that forks for this one; the first call starts it."""
    return _of_this_process()


def _serve(address: str) -> None:
    """Fork for each request of standard input, one at a time, and answer with the exit status."""
    sys.path.insert(0, str(ROOT))
    import kdx2i
    from kdx2i import warm

    modules = [module.name for module in pkgutil.walk_packages(kdx2i.__path__, "kdx2i.")]
    for name in (*warm.LIBRARIES, *warm.LATER, *LIBRARIES, *modules):
        if not name.endswith("__main__"):
            importlib.import_module(name)
    _know_hashes(importlib.import_module("kdx2i.suite").make_plan(ROOT, "open-smoke"))
    _sources(ROOT)
    gc.freeze()
    _fork_warm_server(warm, address)
    answers = os.dup(1)
    for line in sys.stdin:
        words, folder, environment, out, err = json.loads(line)
        child = os.fork()
        if child == 0:
            os.close(answers)
            _become(words, folder, environment, out, err)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(answers, f"{status}\n".encode())


def _know_hashes(plan) -> None:
    """Compute the identities of what most workflows of tests make: the hashes of the code are remembered."""
    for name in plan.tables:
        for leaf in [*plan.table(name).upstream(), plan.rendered(name)]:
            leaf.identity  # noqa: B018
    plan.comparison(["table1"]).identity  # noqa: B018


@cache
def _sources(root: Path) -> dict[str, bytes]:
    """Return all files of the package of a repository."""
    files = [path for path in (root / "kdx2i").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _enter(folder: str) -> None:
    """Go to a folder; forget the modules of this suite where it has others."""
    os.chdir(folder)
    place = Path(folder)
    if (place / "kdx2i" / "__init__.py").is_file() and _sources(place) != _sources(ROOT):
        for name in [name for name in sys.modules if name.partition(".")[0] == "kdx2i"]:
            del sys.modules[name]
        sys.path.insert(0, folder)


class _EnteringOs:
    """The module `os` for the warm server: a job goes to its folder by `_enter`."""

    chdir = staticmethod(_enter)

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


def _fork_warm_server(warm, address: str) -> None:
    """Start the warm server, which ends with this process: the pipe to its standard input closes then."""
    reading, writing = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address}")
        listener.listen(64)
        if os.fork() == 0:
            os.close(writing)
            os.dup2(reading, 0)
            os.dup2(2, 1)
            warm.os = _EnteringOs()
            warm.serve(listener)
            os._exit(0)
    os.close(reading)


def _become(words: Sequence[str], folder: str, environment: Mapping[str, str], out: str, err: str) -> None:
    """Run a module as a process of its own would, and end."""
    for number, (name, flags) in enumerate([("/dev/null", os.O_RDONLY), (out, os.O_WRONLY), (err, os.O_WRONLY)]):
        stream = os.open(name, flags)
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    _enter(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [folder, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    raise SystemExit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
