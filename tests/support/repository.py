"""Copies of this repository, made-up results in them, and commands run there."""

import os
import shutil
import subprocess
import sys
import tempfile
from atexit import register
from functools import cache
from pathlib import Path

from forks import MODULES, forks
from PIL import Image

from kdx2i.config import DatasetConfig
from kdx2i.data.decode import pixels_sha256, read_rgb
from kdx2i.data.rows import ImageRow, write_rows
from kdx2i.files import sha256_file, write_bytes, write_json
from kdx2i.metric_catalogue import METRICS
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import write_provenance
from kdx2i.warm import ADDRESS

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "params.yaml", "dvc.yaml", "dvc.lock", ".dvcignore", ".dvc", ".dvc-site", ".gitignore",
         "data/raw/README.md", "weights/README.md", ".ci/gpu", ".ci/expect.yaml")  # fmt: skip
FOLDERS = ("benchmarks", "kdx2i", "profiles", "workflow")


def settings_copy(target: Path) -> Path:
    """Make a root that has only `benchmarks/`, whose YAML files may be changed; the packs are linked."""
    ignored = shutil.ignore_patterns("open_emoji")
    shutil.copytree(ROOT / "benchmarks", target / "benchmarks", ignore=ignored, copy_function=_copy_or_link)
    pack = target / "benchmarks" / "datasets" / "open_emoji"
    pack.symlink_to(ROOT / "benchmarks" / "datasets" / "open_emoji")
    return target


def _copy_or_link(path: str, to: str) -> str:
    """Copy a file; of weights make a hard link to one copy for the whole process (110 MB that most tests only read).

    A test that wants other weights replaces the file (`kdx2i.files.write_bytes`), and never writes into it, which
    `assert_weights_whole` finds.
    """
    if path.endswith(".safetensors"):
        try:
            os.link(_weights() / Path(path).relative_to(ROOT / "benchmarks"), to)
            return to
        except OSError:  # Another file system, or one without hard links.
            pass
    return shutil.copy2(path, to)


_TEMPORARY = tempfile.gettempdir()
"""Of this process: a test may give itself another one."""


@cache
def _weights() -> Path:
    """Copy the shipped weights into a folder of this process, once, and return it."""
    folder = Path(tempfile.mkdtemp(prefix="kdx2i-weights-", dir=_TEMPORARY))
    owner = os.getpid()  # A fork of this process ends, too.
    register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    for path in (ROOT / "benchmarks").rglob("*.safetensors"):
        copy = folder / path.relative_to(ROOT / "benchmarks")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
        _states[copy] = path, _state(copy)
    return folder


_states: dict[Path, tuple[Path, tuple[int, int]]] = {}
"""Of every file that `_weights` has copied: the shipped one, and size and time of the copy when it was the same."""


def _state(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


def assert_weights_whole() -> None:
    """Fail where a test has written into the weights that the copies of this process share."""
    for copy, (shipped, state) in _states.items():
        if (now := _state(copy)) != state:  # Some tests set the times of all files.
            same = sha256_file(copy) == sha256_file(shipped)
            assert same, f"{copy.name} is shared by all tests and was written into: replace the file instead"
            _states[copy] = shipped, now


def clone(target: Path) -> Path:
    """Make a working copy of the repository without results."""
    ignore = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local", "lock", "*.egg-info")
    target.mkdir(parents=True, exist_ok=True)
    for name in (*PARTS, *FOLDERS):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore, copy_function=_copy_or_link)
        elif source.exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


def run(root: Path, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment in a copy, with the package of the copy."""
    if sys.platform == "linux" and command[:2] == (sys.executable, "-m") and command[2] in MODULES:
        warm = {ADDRESS: forks().address}
        done = forks().run(command[2:], root, environment(root) | warm, timeout=900)
        if check:
            done.check_returncode()
        return done
    return run_alone(root, *command, check=check)


def run_alone(root: Path, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command as `run` does, in a process of its own, with jobs that a Snakemake serves itself."""
    return subprocess.run(
        command, cwd=root, env=environment(root), capture_output=True, text=True, check=check, timeout=900
    )


def environment(root: Path) -> dict[str, str]:
    """Return the environment of commands in a copy."""
    left_out = ("KDX2I_ROOT", "OMP_NUM_THREADS", "COLUMNS", ADDRESS)
    own = {name: value for name, value in os.environ.items() if name not in left_out}
    return own | {"PYTHONPATH": str(root), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def assert_not_imported(code: str, *modules: str) -> None:
    """Run code in a new process and check that it imports none of the modules."""
    done = run(ROOT, sys.executable, "-c", f"{code}\nimport sys\nassert not set({modules!r}) & set(sys.modules)")
    assert done.returncode == 0, done.stderr


def kdx2i(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a copy."""
    return run(root, sys.executable, "-m", "kdx2i", *words)


def snakemake(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a copy."""
    return run(root, sys.executable, "-m", "snakemake", *words)


def fabricate(plan: Plan, leaf: Leaf) -> None:
    """Make up the outputs of a leaf, and its provenance as if it had been computed."""
    for name in leaf.outputs:
        if name == "split.csv":
            _split_of_one_image(leaf)
        elif name == "metrics.json":
            write_json(leaf.file(name), {"values": _values(leaf)})
        elif name == "log.jsonl":
            write_bytes(leaf.file(name), b'{"step": 0, "loss": 2.0}\n{"step": 1, "loss": 1.5}\n')
        else:
            write_bytes(leaf.file(name), f"{leaf.name} {name}".encode())
    write_provenance(plan, leaf)


@cache
def _count_training_images_once() -> None:
    """Let this process read the manifest once for the same files: every made-up table asks for training images."""
    from kdx2i.stages import teacher_overlap

    known: dict[tuple[object, ...], set[str]] = {}
    count = teacher_overlap.training_fingerprints

    def remembered(dataset: DatasetConfig, root: Path) -> set[str]:
        states = ((root / file.path).stat() for file in dataset.source.files.values() if file.path)
        key = (dataset.model_dump_json(), *((state.st_size, state.st_mtime_ns) for state in states))
        if key not in known:
            known[key] = count(dataset, root)
        return known[key]

    teacher_overlap.training_fingerprints = remembered


def fabricate_all(plan: Plan, table: str) -> list[Leaf]:
    """Make up everything that a table is made from, and return it."""
    _count_training_images_once()
    leaves = list(plan.table(table).upstream())
    for leaf in leaves:
        fabricate(plan, leaf)
    return leaves


def _split_of_one_image(leaf: Leaf) -> None:
    """Write a split that is whole: one image of one point."""
    place = leaf.folder / "images" / "a" / "0.png"
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1, 1), f"#{leaf.identity[:6]}").save(place)
    pixels = pixels_sha256(read_rgb(place))
    write_rows(leaf.file("split.csv"), [ImageRow("images/a/0.png", "a", "train", "", leaf.name, pixels, pixels)])


def _values(leaf: Leaf) -> dict[str, object]:
    number = int(leaf.identity[:4], 16) / 1000
    names = getattr(leaf.spec, "metrics", METRICS)
    metrics = {name: {"value": number, "n_real": 10, "n_generated": 20, "classes": 5} for name in names}
    if leaf.kind.name == "controls":
        names = ("real_vs_real", "input_copied", "class_mean", "blank", "noise")
        return dict.fromkeys(names, metrics)
    return dict(metrics)
