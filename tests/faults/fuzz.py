"""Feed damaged files to every reader, in child processes with limits, and print what came of them.

    python tests/faults/fuzz.py --inputs 10000 --seed 1 --csv FILE --keep FOLDER

The same seed gives the same inputs. Each input must be read or end in one sentence of at most 300 characters; the
command ends with 1 where one did not, and `--keep` keeps these files.
"""

import argparse
import csv
import os
import random
import resource
import select
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from foreign_readers import CASES, READERS, Reader  # noqa: E402
from mutations import mutated  # noqa: E402

from kdx2i.bounds import SENTENCE  # noqa: E402
from kdx2i.errors import UserError  # noqa: E402

SECONDS = 30.0  # for one input, on a busy machine
MEMORY = 2 * 2**30  # bytes that a child may take beside what the parent has
COLUMNS = ("reader", "inputs", "survived", "sentences", "faults", "seconds", "slowest", "peak_mib")
FAULTS = ("traceback", "long sentence", "no end", "crash")


@dataclass
class Tally:
    """What came of the inputs of one reader."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: float = 0.0
    peak_mib: float = 0.0


def inputs(reader: Reader, name: str, count: int, seed: int) -> list[bytes]:
    """Return `count` files: the samples and cases of a reader, then damaged ones, the same for the same seed."""
    whole = [*reader.samples(), *((CASES / case).read_bytes() for case in reader.cases)]
    draw = random.Random(f"{seed} {name}")
    return [*whole, *(mutated(draw.choice(whole), draw) for _ in range(count))][:count]


def outcome(reader: Reader, path: Path) -> str:
    """Read a file and say what came of it."""
    try:
        reader.read(path)
    except UserError as error:
        return "sentence" if len(str(error)) <= SENTENCE and "\n" not in str(error).strip() else "long sentence"
    except BaseException:  # noqa: BLE001 (this is what is looked for)
        return "traceback"
    return "survived"


def run(name: str, datas: list[bytes], tally: Tally, keep: Path | None, seed: int) -> None:
    """Read all inputs of a reader; a child that ends or does not end is followed by another one."""
    waiting = list(enumerate(datas))
    with tempfile.TemporaryDirectory() as folder:
        while waiting:
            done = _child(name, waiting, Path(folder), tally)
            for (number, data), result in zip(waiting, done, strict=False):
                tally.outcomes[result] += 1
                if result in FAULTS and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    file = f"{name.replace(' ', '_')}-{seed}-{number}-{result.replace(' ', '_')}"
                    (keep / f"{file}{READERS[name].suffix}").write_bytes(data)
            waiting = waiting[len(done) :]


def _child(name: str, waiting: list[tuple[int, bytes]], folder: Path, tally: Tally) -> list[str]:
    """Read inputs in a child until all are read or it fails; return the outcome of each that was begun."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        warnings.simplefilter("ignore")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
        reader = READERS[name]
        for number, data in waiting:
            path = folder / f"key-{number}{reader.suffix}"
            path.write_bytes(data)
            result = outcome(reader, path)
            path.unlink(missing_ok=True)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(writing, f"{result},{peak}\n".encode())
        os._exit(0)
    os.close(writing)
    done: list[str] = []
    begun, pending = time.perf_counter(), b""
    while len(done) < len(waiting):
        ready, _, _ = select.select([reading], [], [], SECONDS)
        part = os.read(reading, 2**16) if ready else b""
        if not part:
            os.kill(pid, 9)
            done.append("crash" if ready else "no end")
            break
        *lines, pending = (pending + part).split(b"\n")
        now = time.perf_counter()
        tally.slowest, tally.seconds, begun = max(tally.slowest, now - begun), tally.seconds + now - begun, now
        for line in lines:
            result, _, peak = line.decode().partition(",")
            done.append(result)
            tally.peak_mib = max(tally.peak_mib, int(peak) / 1024)
    os.close(reading)
    os.waitpid(pid, 0)
    return done


def main(arguments: list[str] | None = None) -> int:
    """Run the fuzzers and print a table; 1 where an input was neither read nor ended in a sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2400, help="in all, dealt evenly to the readers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", action="append", choices=sorted(READERS), help="only this one")
    parser.add_argument("--csv", type=Path, help="write the table here too")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that failed")
    asked = parser.parse_args(arguments)
    names = asked.reader or list(READERS)
    rows = []
    for place, name in enumerate(names):
        count = asked.inputs // len(names) + (place < asked.inputs % len(names))
        tally = Tally()
        run(name, inputs(READERS[name], name, count, asked.seed), tally, asked.keep, asked.seed)
        found = tally.outcomes
        faults = {kind: found[kind] for kind in FAULTS if found[kind]}
        values = (name, count, found["survived"], found["sentence"], sum(faults.values()))
        row = (*values, round(tally.seconds, 1), round(tally.slowest, 2), round(tally.peak_mib))
        rows.append(dict(zip(COLUMNS, row, strict=True)))
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), faults or "", flush=True)
    total = {key: sum(row[key] for row in rows) for key in COLUMNS[1:6]}
    total |= {key: max((row[key] for row in rows), default=0) for key in COLUMNS[6:]}
    rows.append({"reader": "all", **total, "seconds": round(total["seconds"], 1)})
    print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), f" seed {asked.seed}")
    if asked.csv is not None:
        with asked.csv.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return 1 if total["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
