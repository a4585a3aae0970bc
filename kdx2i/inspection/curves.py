"""The losses of trainings as small CSV files, which `dvc plots` draws."""

import json
import shutil
from pathlib import Path

from kdx2i.errors import UserError
from kdx2i.files import write_csv
from kdx2i.plan import Plan

POINTS = 200
"""Steps of a training that its curve has at most."""


def write_curves(plan: Plan) -> list[Path]:
    """Write `curves/<kind>-<address>.csv` (step, loss, value) for each training of a preset; return the paths.

    At most `POINTS` logged steps, evenly spaced, the last among them. Curves of trainings that are gone go too.
    A log that is not one raises `UserError`.
    """
    results = plan.root / plan.results
    folder = results / "curves"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    written = []
    for log in sorted(results.glob("*/**/log.jsonl")):
        place = log.parent.relative_to(results)
        if place.parts[0].startswith("."):
            continue
        path = folder / f"{'-'.join(place.parts)}.csv"
        try:
            steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            rows = [
                {"step": step["step"], "loss": name, "value": value}
                for step in _spaced(steps)
                for name, value in step.items()
                if name != "step"
            ]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f"{log} is not the log of a training; `kdx2i restore` removes what is corrupt") from None
        write_csv(path, ("step", "loss", "value"), rows)
        written.append(path)
    return written


def _spaced(steps: list[dict[str, float]]) -> list[dict[str, float]]:
    if len(steps) <= POINTS:
        return steps
    return [steps[round(index * (len(steps) - 1) / (POINTS - 1))] for index in range(POINTS)]
