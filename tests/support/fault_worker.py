"""A few kills and faults in one small tree: `python fault_worker.py FOLDER` prints what came of them as JSON.

Runs as a process of its own, so that all commands are forks that share its imports. The whole suite:
`tests/faults/kill.py` and `tests/faults/scenarios.py`.
"""

import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
from fault_scenarios import QUICK
from kill import Suite

KILLS = {"train": 1, "table": 2}
SCENARIOS = ("full disk: a checkpoint", "two trainings of one result")


def main(folder: Path) -> None:
    """Run everything unharmed once, then the kills and the faults."""
    with redirect_stdout(sys.stderr):
        suite = Suite(folder, seed=1)
        suite.run_whole()
        for stage, kills in KILLS.items():
            suite.kill_stage(stage, kills)
        verdicts = {name: asdict(QUICK[name](suite.tree)) for name in SCENARIOS}
    print(json.dumps({"kills": {what: asdict(tally) for what, tally in suite.tallies.items()}, "faults": verdicts}))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]).resolve())
