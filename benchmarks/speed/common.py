"""What the speed scripts share: timing in turns, a description of the machine, a plain table."""

import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdx2i.files import write_json


def use_threads(count: int) -> None:
    """Hold every linear algebra library to `count` threads. Call it before NumPy or torch is imported."""
    if "numpy" in sys.modules or "torch" in sys.modules:
        raise RuntimeError("use_threads comes before the first import of numpy and torch")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)


def timed(function: Callable[[], Any], repeats: int) -> list[float]:
    """Return the wall seconds of `repeats` calls, in the order of the calls."""
    return in_turns({"": function}, repeats)[""]


def in_turns(
    functions: Mapping[str, Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return the wall seconds of each function, called in turns so that a busy spell slows all of them.

    `time.process_time` as `clock` counts the processor's seconds, of all threads: on one thread that is what a
    quiet core would take, more or less, also when others use the machine.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return seconds


def middle(seconds: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(seconds)


def machine() -> dict[str, Any]:
    """Return processor, cores, load average of the last minute, threads and versions; no name of the machine."""
    packages = ("numpy", "scipy", "torch", "clean-fid", "torch-fidelity")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "threads": int(os.environ["OMP_NUM_THREADS"]) if "OMP_NUM_THREADS" in os.environ else None,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def report(title: str, rows: Sequence[Mapping[str, Any]], json_path: Path | None) -> None:
    """Print the rows as a plain table under the machine's description; write both as JSON where a path is given."""
    about = machine()
    print(title)
    print("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items()))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([_text(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if json_path is not None:
        write_json(json_path, {"title": title, "machine": about, "rows": [dict(row) for row in rows]})


def _text(value: Any) -> str:
    """Return a cell: four significant digits, thousands with commas, nothing for None."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return "" if value is None else str(value)
