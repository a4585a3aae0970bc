"""A small tree in which every stage runs within seconds, commands and workflows in it, and what they leave."""

import importlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from repository import clone

from kdx2i.files import sha256_file
from kdx2i.plan import Leaf, Plan
from kdx2i.suite import make_plan
from kdx2i.warm import LATER, LIBRARIES

RESULTS = "results/faults"
WORKFLOW = ("-m", "snakemake", "table1", "--config", "preset=faults", "--cores")
TEACHER = """name: tiny
title: A tiny teacher
dataset: open-birds
resolution: 32
iterations: 4
batch: 2
sizes: {z_dim: 8, w_dim: 8, num_layers: 2, channel_base: 256, channel_max: 8}
noise: none
"""
PRESET = """name: faults
title: one row of one table, as small as it can be
datasets: {birds: open-birds}
resolutions: {256: 32}
seeds: [0]
teachers: {faces: {32: tiny}}
architectures:
  stargan_v2:
    teacher: faces
    networks: {style_dim: 8, latent_dim: 8, hidden_dim: 16, dim_in: 8, max_conv_dim: 16, num_down: 2}
    distill: {iterations: 3, batch: 2, sample_every: 2}
    train: {iterations: 4, batch: 2, sample_every: 2}
checkpoints: {steps: 1}
evaluation:
  extractor: open-drawings
  preprocessing: clean
  images_per_class: 2
  images_per_direction: 4
  control_repeats: 2
"""
TABLE = """name: table1
title: One row of Table 1
caption: one row
parts:
  - {name: latent, title: Latent-guided, mode: latent}
rows:
  - {part: latent, label: Ours*, architecture: stargan_v2, transfer: kd, resolution: 256}
columns:
  datasets: [birds]
  metrics: [mFID]
"""
METHOD = ("--architecture", "stargan_v2", "--transfer", "kd", "--resolution", "32", "--preset", "faults")
STAGES: dict[str, tuple[str, ...]] = {
    "split": ("split", "--dataset", "open-birds", "--preset", "faults"),
    "teacher": ("teacher", "tiny", "--preset", "faults"),
    "distill": ("distill", *METHOD),
    "train": ("train", "--dataset", "open-birds", *METHOD),
    "evaluate": ("evaluate", "--dataset", "open-birds", "--mode", "latent", *METHOD),
    "controls": ("controls", "--dataset", "open-birds", "--resolution", "32", "--preset", "faults"),
    "table": ("table", "table1", "--preset", "faults"),
    "compare": ("compare", "--preset", "faults", "table1"),
}
"""The command of each stage, in the order of the flow."""
TEMPORARY = re.compile(r"\..+\.part|\.tmp\w{6}")


def make_tree(target: Path) -> Path:
    """Clone the repository, with one teacher to train, one small preset and one row of Table 1."""
    clone(target)
    benchmarks = target / "benchmarks"
    for path in (benchmarks / "teachers").glob("*"):
        path.unlink()
    (benchmarks / "teachers" / "tiny.yaml").write_text(TEACHER)
    (benchmarks / "presets" / "faults.yaml").write_text(PRESET)
    (benchmarks / "tables" / "table1.yaml").write_text(TABLE)
    return target


def leaves(plan: Plan) -> dict[str, Leaf]:
    """Return the result that each stage makes."""
    method = ("stargan_v2", "kd", 32, 0)
    return {
        "split": plan.split("open-birds"),
        "teacher": plan.teacher("tiny"),
        "distill": plan.distilled(*method),
        "train": plan.run("open-birds", *method),
        "evaluate": plan.evaluation("open-birds", *method, "latent"),
        "controls": plan.controls("open-birds", 32),
        "table": plan.rendered("table1"),
        "compare": plan.comparison(["table1"]),
    }


@dataclass
class Child:
    """A process that was started, with its own session and a log of what it prints."""

    pid: int
    log: Path
    status: int | None = None
    peak_mib: float = 0.0
    cpu: float = 0.0

    def poll(self) -> bool:
        """Tell whether it has ended."""
        if self.status is None:
            pid, state, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.status, self.peak_mib = os.waitstatus_to_exitcode(state), usage.ru_maxrss / 1024
                self.cpu = usage.ru_utime + usage.ru_stime
        return self.status is not None

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False, pause: float = 0.005) -> bool:
        """Wait until it has ended, a time has passed or something holds; tell whether it has ended."""
        end = time.monotonic() + seconds
        while not self.poll() and time.monotonic() < end and not until():
            time.sleep(pause)
        return self.poll()

    def kill(self) -> None:
        """Kill it and what it has started, as a power cut would."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # It has no session of its own yet.
            os.kill(self.pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")


@dataclass
class Tree:
    """The tree in a folder, with temporary and cache folders of its own."""

    folder: Path
    started: int = 0
    peak_mib: float = 0.0
    children: list[Child] = field(default_factory=list)

    @cached_property
    def root(self) -> Path:
        for name in ("tmp", "cache", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        return make_tree(self.folder / "tree")

    @cached_property
    def leaves(self) -> dict[str, Leaf]:
        return leaves(make_plan(self.root, "faults"))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of its processes."""
        inherited = {k: v for k, v in os.environ.items() if k not in ("KDX2I_WARM", "PYTHONSTARTUP")}
        return inherited | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "KDX2I_ROOT": str(self.root),
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
            **more,
        }

    def _start(self, work: Callable[[], int]) -> Child:
        self.started += 1
        root, log = self.root, self.folder / "logs" / f"{self.started}.txt"
        pid = os.fork()
        if pid:
            self.children.append(Child(pid, log))
            return self.children[-1]
        status = 1
        try:
            os.setsid()
            os.chdir(root)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number in (1, 2):
                os.dup2(out, number)
            sys.stdout = open(1, "w", 1, "utf-8", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
            status = work()
            sys.stdout.flush()
        except BaseException as error:  # noqa: BLE001 - a fork must not go on with its parent's work
            os.write(2, f"Traceback of {error!r}\n".encode())
        finally:
            os._exit(status)

    def command(self, stage_or_words: str | tuple[str, ...]) -> Child:
        """Start `kdx2i WORDS...` in a fork of this process, as the warm server does."""
        words = STAGES[stage_or_words] if isinstance(stage_or_words, str) else stage_or_words

        def work() -> int:
            from kdx2i.cli import main

            os.environ.clear()
            os.environ.update(environment)
            return main(list(words))

        environment = self.environment()
        return self._start(work)

    def process(self, *words: str) -> Child:
        """Start Python with words, as a process of its own: `-m snakemake ...`, `-m dvc ...`."""
        environment = self.environment()
        return self._start(lambda: os.execve(sys.executable, [sys.executable, *words], environment))

    def outputs(self, of: str | None = None) -> dict[str, str]:
        """Return the SHA-256 of every file of the results and the data, or of the result of one stage."""
        if of is not None:
            leaf = self.leaves[of]
            files = [self.root / path for path in leaf.paths]
            files += leaf.folder.glob("images/*/*") if of == "split" else []
        else:
            files = [path for folder in ("data", RESULTS) for path in (self.root / folder).rglob("*")]
        passed = (self.root / RESULTS / ".work", self.root / RESULTS / "logs")
        kept = [p for p in files if p.is_file() and not any(p.is_relative_to(folder) for folder in passed)]
        return {p.relative_to(self.root).as_posix(): sha256_file(p) for p in sorted(kept)}

    def remove(self, stage: str) -> None:
        """Remove the result of one stage."""
        for name in self.outputs(stage):
            (self.root / name).unlink()

    def temporary(self, *folders: Path) -> Iterator[Path]:
        """Yield temporary files that lie in folders at this moment."""
        for folder in folders:
            try:
                yield from (Path(e.path) for e in os.scandir(folder) if TEMPORARY.fullmatch(e.name))
            except OSError:
                continue

    def locks(self) -> list[str]:
        """Return the locks that lie in the tree."""
        found = [*(self.root / ".snakemake" / "locks").glob("*"), *(self.root / "results" / ".locks").glob("*")]
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def left(self) -> list[str]:
        """Return what is no result and should not be there when nobody is at work."""
        everything = [path for folder in ("data", "results", ".snakemake") for path in (self.root / folder).rglob("*")]
        found = [path for path in everything if TEMPORARY.fullmatch(path.name) or path.name.startswith("shell_tmp.")]
        found += (self.root / RESULTS / ".work").glob("[0-9a-f]" * 64)
        found += (self.folder / "cache").rglob("snakemake-runtime-cache/*")
        # PyTorch's compiler makes one folder of a fixed name for its cache.
        found += [path for path in (self.folder / "tmp").iterdir() if not path.name.startswith("torchinductor_")]
        return sorted(path.relative_to(self.folder).as_posix() for path in found)


def run_whole(tree: Tree, seconds: float = 900.0) -> dict[str, float]:
    """Run every stage unharmed, and return the seconds that each took. What forks need is imported once, here."""
    stages = [f"kdx2i.stages.{leaf.kind.stage}" for leaf in tree.leaves.values() if leaf.identity]
    for name in (*LIBRARIES, *LATER, "kdx2i.cli", "kdx2i.methods.stargan_v2.method", *stages):
        importlib.import_module(name)
    took = {}
    for stage in STAGES:
        begun = time.monotonic()
        child = tree.command(stage)
        if not child.wait(seconds) or child.status != 0:
            raise RuntimeError(f"{stage} does not run unharmed: {child.said}")
        took[stage] = time.monotonic() - begun
        print(f"{stage} unharmed: {took[stage]:.1f} s, {child.cpu:.1f} s of them on a processor", flush=True)
    return took
