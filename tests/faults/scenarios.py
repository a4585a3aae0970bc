"""Let one fault after the other befall a small tree, and print what each ended in.

    python tests/faults/scenarios.py --csv FILE

The faults are those of `tests/support/fault_scenarios.py`. Each must end in the same bytes, or in one sentence and,
when its cause is gone, in the same bytes; nothing may be left. The command ends with 1 where that is not so. What needs
a permission that is not there is skipped, and said.
"""

import argparse
import csv
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fault_scenarios import QUICK, SLOW, Verdict  # noqa: E402
from kill_tree import Tree, run_whole  # noqa: E402

COLUMNS = ("fault", "outcome", "seconds", "peak_mib", "words")


def tried(tree: Tree, name: str, kept: Path) -> tuple[Verdict, float]:
    """Let one fault befall the tree, and put its results back where it did harm."""
    begun, whole = time.monotonic(), tree.outputs()
    try:
        verdict = {**QUICK, **SLOW}[name](tree)
    except Exception as error:  # noqa: BLE001 - the next fault wants its turn
        verdict = Verdict("fault", f"{type(error).__name__}: {error}")
    if tree.outputs() != whole:
        shutil.rmtree(tree.root / ".snakemake" / "locks", ignore_errors=True)
        for folder in ("data", "results"):
            shutil.rmtree(tree.root / folder)
            shutil.copytree(kept / folder, tree.root / folder)
    return verdict, time.monotonic() - begun


def main(arguments: list[str] | None = None) -> int:
    """Try all faults and print a table; 1 where one did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[*QUICK, *SLOW], metavar="NAME", help="only this fault")
    parser.add_argument("--csv", type=Path, help="write the table here too")
    parser.add_argument("--folder", type=Path, help="work here, and keep what is there (default: a temporary folder)")
    asked = parser.parse_args(arguments)
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="kdx2i-faults-"))).resolve()
    tree, rows = Tree(folder), []
    run_whole(tree)
    for name in ("data", "results"):
        shutil.copytree(tree.root / name, folder / "kept" / name)
    for name in asked.only or [*QUICK, *SLOW]:
        first = len(tree.children)
        verdict, seconds = tried(tree, name, folder / "kept")
        peak = max((child.peak_mib for child in tree.children[first:]), default=0.0)
        rows.append(
            dict(zip(COLUMNS, (name, verdict.outcome, round(seconds, 1), round(peak), verdict.words), strict=True))
        )
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    outcomes = [row["outcome"] for row in rows]
    print(", ".join(f"{outcome} {outcomes.count(outcome)}" for outcome in dict.fromkeys(outcomes)))
    if asked.csv is not None:
        with asked.csv.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if asked.folder is None:
        shutil.rmtree(folder)
    return 1 if "fault" in outcomes else 0


if __name__ == "__main__":
    raise SystemExit(main())
