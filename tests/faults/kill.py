"""Kill (SIGKILL) stages and workflows at random moments, resume them, and compare every byte with runs that lived.

    python tests/faults/kill.py --kills 100 --seed 1 --csv FILE

Stages run as forks of this process, as the warm server runs them; one kill in five falls on a real Snakemake, on its
warm server or on one of its jobs. The same seed draws the same delays; where they fall depends on the machine. Each
result must end in the same bytes, without temporary files and stuck locks; the command ends with 1 where one did not.
"""

import argparse
import csv
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil  # noqa: E402
from kill_tree import STAGES, WORKFLOW, Child, Tree, run_whole  # noqa: E402

LIMIT = 3600.0  # seconds that an unharmed run may take on a busy machine
VICTIMS = ("everything", "Snakemake alone", "warm server", "job")
COLUMNS = ("what", "kills", "in_writes", "runs", "same_bytes", "sentences", "stuck_locks", "left", "faults", "seconds",
           "peak_mib")  # fmt: skip


@dataclass
class Tally:
    """What came of the kills of one stage, or of one kind of victim in workflows.

    `kills` landed on a living process, `in_writes` of them with a temporary file in place; `runs` are those that
    were killed and resumed until they ended; `sentences` resumed runs that ended in one sentence instead.
    """

    kills: int = 0
    in_writes: int = 0
    runs: int = 0
    same_bytes: int = 0
    sentences: int = 0
    stuck_locks: int = 0
    left: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mib: float = 0.0

    def row(self, what: str) -> dict[str, object]:
        """Return the tally as a row of the table."""
        values = {name: getattr(self, name) for name in COLUMNS[1:]}
        rounded = {"seconds": round(self.seconds, 1), "peak_mib": round(self.peak_mib), "faults": len(self.faults)}
        return {"what": what, **values, **rounded}


class Suite:
    """The tree that is killed, what its results should be, and what has come of it so far."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.tree, self.draw = Tree(folder), random.Random(seed)
        self.tallies: dict[str, Tally] = {}
        self.seconds: dict[str, float] = {}
        self.whole: dict[str, str] = {}

    def run_whole(self) -> None:
        """Run every stage unharmed: what it takes, and what it makes."""
        self.seconds = run_whole(self.tree)
        self.whole = self.tree.outputs()

    # -- stages --------------------------------------------------------------------------------------

    def kill_stage(self, stage: str, kills: int) -> int:
        """Make one stage's result anew while it is killed up to `kills` times; return how many kills landed."""
        tally, begun = self.tallies.setdefault(stage, Tally()), time.monotonic()
        self.tree.remove(stage)
        landed = 0
        for _ in range(3 * kills):  # A run may end before its moment.
            if landed == kills:
                break
            child = self.tree.command(stage)
            moment, in_write = self.draw.uniform(0, 1.1 * self.seconds[stage]), self.draw.random() < 0.5
            child.wait(moment)
            if in_write:
                child.wait(LIMIT, lambda: self._writes(stage), pause=0.0005)
            if not child.poll():
                tally.in_writes += self._writes(stage)
                child.kill()
                child.wait(60)
                landed += 1
                tally.kills += 1
        self._resume(stage, tally, lambda: self.tree.command(stage), stage)
        tally.seconds += time.monotonic() - begun
        return landed

    def _writes(self, stage: str) -> bool:
        """Tell whether a temporary file of a stage lies there at this moment."""
        leaf = self.tree.leaves[stage]
        images = leaf.folder.glob("images/*") if stage == "split" else ()
        folders = (leaf.folder, leaf.work, self.tree.root / "results/faults/.work/features", *images)
        return next(self.tree.temporary(*folders), None) is not None

    def _resume(self, what: str, tally: Tally, start: Callable[[], Child], stage: str | None) -> None:
        """Let a run end unharmed, and compare."""
        child = start()
        ended = child.wait(LIMIT)
        tally.runs += 1
        tally.peak_mib = max(tally.peak_mib, child.peak_mib)
        if not ended:
            child.kill()
            tally.faults.append(f"{what}: no end after {LIMIT:.0f} s")
        elif child.status != 0:
            lines = [line for line in child.said.splitlines() if line.strip()]
            if stage is not None and child.status == 2 and lines and lines[-1].startswith("error: "):
                tally.sentences += 1
            else:
                tally.faults.append(f"{what}: ended with {child.status}: {child.said[-2000:]}")
        elif "Traceback" in child.said:
            tally.faults.append(f"{what}: a traceback: {child.said[-2000:]}")
        expected = self.whole if stage is None else {n: h for n, h in self.whole.items() if n in self._names(stage)}
        found = self.tree.outputs(stage)
        if found == expected:
            tally.same_bytes += 1
        else:
            names = [n for n in {*found, *expected} if found.get(n) != expected.get(n)]
            tally.faults.append(f"{what}: other bytes: {sorted(names)[:5]}")
        locks, left = self.tree.locks(), self.tree.left()
        tally.stuck_locks += len(locks)
        tally.left += len(left)
        if locks or left:
            tally.faults.append(f"{what}: left {[*locks, *left][:5]}")

    def _names(self, stage: str) -> set[str]:
        folder = self.tree.leaves[stage].folder.relative_to(self.tree.root)
        own = {path.as_posix() for path in self.tree.leaves[stage].paths}
        return own | {name for name in self.whole if stage == "split" and name.startswith(f"{folder}/images/")}

    # -- workflows -----------------------------------------------------------------------------------

    def kill_workflow(self, victims: list[str]) -> None:
        """Make everything anew with Snakemake, one kill for each victim, and let the last run end."""
        for folder in ("data", "results", ".snakemake"):
            shutil.rmtree(self.tree.root / folder, ignore_errors=True)
        tally = Tally()
        for number, victim in enumerate(victims):
            tally, begun = self.tallies.setdefault(victim, Tally()), time.monotonic()
            self._lose_something(number)
            child = self.tree.process(*WORKFLOW, "1")
            self._until_a_stage_runs(child, number, len(victims))
            if not child.poll() and self._strike(child, victim):
                tally.kills += 1
            if victim in ("warm server", "job"):  # Snakemake lives and says what it sees.
                child.wait(LIMIT)
                if "Traceback" in child.said:
                    tally.faults.append(f"{victim}: a traceback: {child.said[-2000:]}")
            tally.seconds += time.monotonic() - begun
        begun = time.monotonic()
        self._resume("workflow", tally, lambda: self.tree.process(*WORKFLOW, "1"), None)
        tally.seconds += time.monotonic() - begun

    def _lose_something(self, number: int) -> None:
        """Where the last run came to the end, lose a result, so that there is work for this one."""
        if all(leaf.provenance_path.exists() for leaf in self.tree.leaves.values()):
            self.tree.remove(list(STAGES)[3 - number % 3])

    def _until_a_stage_runs(self, child: Child, number: int, kills: int) -> None:
        """Wait for a stage that is not finished, of the share of the flow that belongs to this kill, and for a bit."""
        place = int((number + self.draw.random()) / kills * len(STAGES))
        missing = [name for name in STAGES if not self.tree.leaves[name].provenance_path.exists()]
        waiting = [name for name in missing if list(STAGES).index(name) >= place] or missing[:1]
        if waiting:
            log, since = f"results/faults/logs/{waiting[0]}/**/*.log", time.time()

            def begun() -> bool:
                return any(path.stat().st_mtime >= since for path in self.tree.root.glob(log))

            child.wait(LIMIT, begun, pause=0.02)
            child.wait(self.draw.uniform(0, 2 * self.seconds[waiting[0]]))

    def _strike(self, child: Child, victim: str) -> bool:
        """Kill the victim as soon as there is one; return whether there was."""
        child.wait(LIMIT, lambda: bool(_processes(child, victim)))
        struck = _processes(child, victim)
        for process in struck:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        child.wait(1)
        return bool(struck)


def _processes(child: Child, victim: str) -> list[psutil.Process]:
    """Return the processes of a workflow that a victim's name means; none where Snakemake has ended."""
    with suppress(psutil.NoSuchProcess):
        snakemake = psutil.Process(child.pid)
        servers = [process for process in snakemake.children() if "kdx2i.warm" in process.cmdline()]
        if victim == "everything":
            return [snakemake, *snakemake.children(recursive=True)]
        if victim == "Snakemake alone":
            return [snakemake]
        return servers if victim == "warm server" else [job for server in servers for job in server.children()]
    return []


def shares(kills: int, workflow: bool) -> tuple[dict[str, int], list[str]]:
    """Return how many kills each stage gets, and the victims of those that fall on workflows: one in five."""
    real = max(kills // 5, 1) if workflow else 0
    names = list(STAGES)
    stages = {name: (kills - real) // len(names) + (n < (kills - real) % len(names)) for n, name in enumerate(names)}
    return stages, [VICTIMS[n % len(VICTIMS)] for n in range(real)]


def main(arguments: list[str] | None = None) -> int:
    """Run the kills and print a table; 1 where a result did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stages-only", action="store_true", help="no kills on Snakemake")
    parser.add_argument("--only", action="append", choices=[*STAGES, *VICTIMS], help="only this stage or victim")
    parser.add_argument("--csv", type=Path, help="write the table here too")
    parser.add_argument("--folder", type=Path, help="work here, and keep what is there (default: a temporary folder)")
    asked = parser.parse_args(arguments)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kdx2i-kills-"))
    suite, begun = Suite(folder.resolve(), asked.seed), time.monotonic()
    stages, victims = shares(asked.kills, not asked.stages_only)
    suite.run_whole()
    chosen = asked.only or [*STAGES, *VICTIMS]
    for stage, kills in stages.items():
        done = 0
        while stage in chosen and done < kills:
            done += max(suite.kill_stage(stage, min(suite.draw.randint(1, 4), kills - done)), 1)
        report(suite, stage)
    victims = [victim for victim in victims if victim in chosen]
    for first in range(0, len(victims), 5):
        suite.kill_workflow(victims[first : first + 5])
        for victim in VICTIMS:  # So far: a workflow takes its time.
            report(suite, victim)
    rows = finish(suite, time.monotonic() - begun, asked.seed)
    if asked.csv is not None:
        with asked.csv.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if asked.folder is None:
        shutil.rmtree(folder)
    return 1 if any(tally.faults for tally in suite.tallies.values()) else 0


def report(suite: Suite, what: str) -> None:
    """Print what came of one stage or victim."""
    if what in suite.tallies:
        tally = suite.tallies[what]
        print("  ".join(f"{key} {value}" for key, value in tally.row(what).items()), flush=True)
        for fault in tally.faults:
            print(f"    {fault}", flush=True)


def finish(suite: Suite, seconds: float, seed: int) -> list[dict[str, object]]:
    """Print the sum, and return all rows."""
    rows = [tally.row(what) for what, tally in suite.tallies.items()]
    tallies = suite.tallies.values()
    total = Tally(
        **{name: sum(getattr(tally, name) for tally in tallies) for name in COLUMNS[1:8]},
        faults=[fault for tally in tallies for fault in tally.faults],
        seconds=seconds,
        peak_mib=max((tally.peak_mib for tally in tallies), default=0.0),
    )
    rows.append(total.row("all"))
    print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), f" seed {seed}")
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
