"""What can befall a tree besides kills, one function each: a full disk, read-only folders, half-written files, clocks.

Each takes a tree in which every stage has run unharmed, harms it, lets it go on and returns a verdict.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kill_tree import RESULTS, STAGES, WORKFLOW, Child, Tree

LIMIT = 3600.0  # seconds, on a busy machine


@dataclass(frozen=True)
class Verdict:
    """What a fault ended in: `same bytes`, `sentence` (and the same bytes after it), `skipped`, or `fault`."""

    outcome: str
    words: str = ""


def sentence(child: Child) -> str | None:
    """Return the sentence that a command ended in, None where it ended otherwise."""
    lines = [line for line in child.said.splitlines() if line.strip()]
    whole = child.status == 2 and "Traceback" not in child.said and lines
    return lines[-1] if whole and lines[-1].startswith("error: ") else None


def judged(tree: Tree, whole: dict[str, str], child: Child, words: str = "") -> Verdict:
    """Compare a tree whose last process is `child` with what it was."""
    if not child.wait(LIMIT):
        child.kill()
        return Verdict("fault", "no end")
    if child.status != 0 or "Traceback" in child.said:
        return Verdict("fault", f"ended with {child.status}: {child.said[-1500:]}")
    found = tree.outputs()
    if found != whole:
        return Verdict(
            "fault", f"other bytes: {sorted(n for n in {*found, *whole} if found.get(n) != whole.get(n))[:5]}"
        )
    left = [*tree.locks(), *tree.left()]
    return Verdict("fault", f"left: {left[:5]}") if left else Verdict("sentence" if words else "same bytes", words)


def ended(child: Child) -> Child:
    """Wait for a process and return it."""
    child.wait(LIMIT)
    return child


@contextmanager
def own_disk(place: Path) -> Iterator[Callable[[str], bool] | None]:
    """Give a folder a file system of its own; yield what mounts it otherwise, None without permission to mount."""
    held = place.with_name(f"{place.name}-held")

    def mount(*options: str) -> bool:
        return subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0

    place.mkdir(parents=True, exist_ok=True)
    place.rename(held)
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=512m", "none", str(place)):
        place.rmdir()
        held.rename(place)
        yield None
        return
    try:
        subprocess.run(["cp", "-a", f"{held}/.", str(place)], check=True)
        yield lambda options: mount("-o", f"remount,{options}", str(place))
        shutil.rmtree(held)
        subprocess.run(["cp", "-a", f"{place}", str(held)], check=True)
    finally:
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()
        held.rename(place)


def full_disk(tree: Tree, stage: str, room_kib: int) -> Verdict:
    """A stage writes onto a disk that has a few KiB left; then there is room."""

    def fill(place: Path) -> str:
        state = os.statvfs(place)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize // 1024
        return f"size={used + room_kib}k"

    return refused_by_disk(tree, stage, fill, "size=512m")


def read_only(tree: Tree, stage: str) -> Verdict:
    """A stage finds the folder of results (or of data) read only; then it may write."""
    return refused_by_disk(tree, stage, lambda _: "ro", "rw")


def refused_by_disk(tree: Tree, stage: str, bad: Callable[[Path], str], good: str) -> Verdict:
    """Remove a stage's result, and make it on a disk that is mounted badly, then well."""
    whole, place = tree.outputs(), tree.root / ("data" if stage == "split" else "results")
    with own_disk(place) as remount:
        if remount is None:
            return Verdict("skipped", "no permission to mount a file system")
        tree.remove(stage)
        remount(bad(place))
        first = ended(tree.command(stage))
        remount(good)
        words = sentence(first)
        if words is None:
            return Verdict("fault", f"ended with {first.status}: {first.said[-1500:]}")
        return judged(tree, whole, tree.command(stage), words)


def half_written(tree: Tree, stage: str) -> Verdict:
    """Each JSON file of a stage's result is cut in half: what reads it says so, and the stage makes it again."""
    whole, said = tree.outputs(), ""
    readers = [name for name in STAGES if tree.leaves[stage] in tree.leaves[name].inputs.values()]
    files = {tree.root / name: b"" for name in tree.outputs(stage) if name.endswith((".json", ".jsonl"))}
    for path in files:
        files[path] = path.read_bytes()
        path.write_bytes(files[path][: len(files[path]) // 2])
        if readers:
            words = sentence(ended(tree.command(readers[0])))
            if words is None:
                return Verdict("fault", f"{readers[0]} read a half of {path.name}: {tree.children[-1].said[-1500:]}")
            said = words
        path.write_bytes(files[path])
    for path, data in files.items():
        path.write_bytes(data[: len(data) // 2])
    return judged(tree, whole, tree.command(stage), said)


def two_at_once(tree: Tree, stage: str) -> Verdict:
    """Two commands make one result at the same moment."""
    whole = tree.outputs()
    tree.remove(stage)
    first, second = tree.command(stage), tree.command(stage)
    for child in (first, second):
        if ended(child).status != 0 or "Traceback" in child.said:
            return Verdict("fault", f"ended with {child.status}: {child.said[-1500:]}")
    return judged(tree, whole, second)


def later(tree: Tree, seconds: float) -> None:
    """Date every file of the data and the results to a time after now."""
    then = time.time() + seconds
    for folder in ("data", "results"):
        for path in (tree.root / folder).rglob("*"):
            os.utime(path, (then, then))


def clock_skew(tree: Tree) -> Verdict:
    """Files are dated two hours after now, as a machine with another clock does; one result is lost."""
    whole = tree.outputs()
    later(tree, 7200)
    tree.remove("evaluate")
    return judged(tree, whole, tree.process(*WORKFLOW, "1"))


def half_written_everywhere(tree: Tree) -> Verdict:
    """Every JSON file of the tree is cut in half, and Snakemake goes on."""
    whole = tree.outputs()
    for name in whole:
        path = tree.root / name
        if name.endswith((".json", ".jsonl")):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return judged(tree, whole, tree.process(*WORKFLOW, "1"))


def begun(tree: Tree, stage: str, since: float) -> Callable[[], bool]:
    """Return what tells whether a workflow's job of a stage has begun."""
    return lambda: any(path.stat().st_mtime >= since for path in (tree.root / RESULTS / "logs" / stage).rglob("*.log"))


def two_workflows(tree: Tree) -> Verdict:
    """A second Snakemake starts in the tree while the first works: it says so and ends, or ends as well."""
    whole, since = tree.outputs(), time.time()
    tree.remove("train")
    first = tree.process(*WORKFLOW, "1")
    first.wait(LIMIT, begun(tree, "train", since))
    second = ended(tree.process(*WORKFLOW, "1"))
    words = "" if second.status == 0 else second.said
    if "Traceback" in words or (words and "cannot be locked" not in words):
        return Verdict("fault", f"the second ended with {second.status}: {words[-1500:]}")
    return judged(tree, whole, first, "Error: Directory cannot be locked" if words else "")


def orphaned_job(tree: Tree) -> Verdict:
    """Snakemake alone is killed while a job trains, and the next one starts at once: no `--unlock` is needed."""
    whole, since = tree.outputs(), time.time()
    tree.remove("train")
    first = tree.process(*WORKFLOW, "1")
    first.wait(LIMIT, begun(tree, "train", since))
    os.kill(first.pid, signal.SIGKILL)
    ended(first)
    return judged(tree, whole, tree.process(*WORKFLOW, "1"))


def dvc_interrupted(tree: Tree) -> Verdict:
    """`dvc repro` is killed while Snakemake works below it, and repeated."""
    whole, since = tree.outputs(), time.time()
    _small_dvc(tree)
    tree.remove("evaluate")
    first = tree.process("-m", "dvc", "repro", "results")
    first.wait(LIMIT, begun(tree, "evaluate", since))
    first.kill()
    ended(first)
    again = ended(tree.process("-m", "dvc", "repro", "results"))
    for place in (tree.root / RESULTS).glob("*"):
        # DVC wants a folder of each kind, and plots curves, which are no result of Snakemake's.
        if place.is_dir() and (place.name == "curves" or not any(place.rglob("*"))):
            shutil.rmtree(place)
    return judged(tree, whole, again)


def _small_dvc(tree: Tree) -> None:
    """Leave of `dvc.yaml` what the tree has."""
    import yaml

    path = tree.root / "dvc.yaml"
    stages = yaml.safe_load(path.read_text())["stages"]
    results = stages["results"]
    results["deps"] = [d for d in results["deps"] if not d.startswith("data/") or "open-birds/" in d]
    split = {**stages["split"], "matrix": {"dataset": ["open-birds"]}}
    path.write_text(yaml.safe_dump({"stages": {"split": split, "results": results}}, sort_keys=False))
    (tree.root / "dvc.lock").unlink(missing_ok=True)
    (tree.root / "params.yaml").write_text(json.dumps({"preset": "faults", "seeds": None, "targets": "table1"}))
    # Under git a provenance names the commit, which the unharmed runs had none of.
    (tree.root / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")


QUICK: dict[str, Callable[[Tree], Verdict]] = {
    "full disk: a checkpoint": lambda tree: full_disk(tree, "train", 24),
    "full disk: a table": lambda tree: full_disk(tree, "table", 0),
    "read-only results": lambda tree: read_only(tree, "train"),
    "read-only data": lambda tree: read_only(tree, "split"),
    **{f"half-written JSON: {stage}": lambda tree, stage=stage: half_written(tree, stage) for stage in STAGES},
    "two trainings of one result": lambda tree: two_at_once(tree, "train"),
}
"""Scenarios of commands alone."""
SLOW: dict[str, Callable[[Tree], Verdict]] = {
    "half-written JSON everywhere": half_written_everywhere,
    "clock two hours ahead": clock_skew,
    "two workflows at once": two_workflows,
    "Snakemake alone killed, the next at once": orphaned_job,
    "dvc repro killed": dvc_interrupted,
}
"""Scenarios of Snakemake and DVC."""
