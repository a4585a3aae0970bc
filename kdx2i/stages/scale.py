"""What the trainings of a preset cost, as a page: `docs/scale.md`."""

from pathlib import Path
from typing import Any

from kdx2i.files import write_text
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import DISTILLED, RUN
from kdx2i.stages.scale_counts import COUNTED, Counts, run_counts

MEASURED = ("stargan_v2", 256, 0.398)
"""The measured iteration: architecture, px, and seconds on an H100 in TF32 (docs/speed.md)."""

MEMORY = 9.7
"""GiB of the GPU that it takes (docs/speed.md)."""

Method = tuple[str, int]


def write(plan: Plan) -> Path:
    """Write the page of a preset and return its path."""
    runs = {name: _of(plan, name, RUN) for name in plan.tables}
    specs = {(leaf.spec.architecture, leaf.spec.resolution): leaf.spec for found in runs.values() for leaf in found}
    tried = {method: run_counts(spec) for method, spec in specs.items()}
    counted = {method: count for method, count in tried.items() if count is not None}
    rate = counted[MEASURED[:2]].flop / MEASURED[2]
    hours = {m: count.flop / rate * int(specs[m].train["iterations"]) / 3600 for m, count in counted.items()}
    lines = [
        _introduction(plan, rate),
        "",
        "| method | px | TFLOP an iteration | ms | iterations | hours | weights GiB |",
    ]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    lines += [_method(m, counted[m], rate, int(specs[m].train["iterations"]), hours[m]) for m in sorted(counted)]
    lines += ["", "## Per table, for one seed", ""]
    lines += ["| table | trainings | counted | GPU hours of these | longest | disk GiB | stages 1, not counted |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for name, found in runs.items():
        known = [m for leaf in found if (m := (leaf.spec.architecture, leaf.spec.resolution)) in counted]
        total, longest = sum(hours[m] for m in known), max((hours[m] for m in known), default=0.0)
        disk = sum(counted[m].weights for m in known) / 2**30
        cells = [name, str(len(found)), str(len(known)), f"{total:,.0f}", f"{longest:.1f}", f"{disk:.1f}"]
        lines.append(f"| {' | '.join([*cells, str(len(_of(plan, name, DISTILLED)))])} |")
    path = plan.root / "docs" / "scale.md"
    write_text(path, "\n".join(lines) + "\n")
    return path


def _of(plan: Plan, table: str, kind: Any) -> list[Leaf[Any]]:
    """Return the results of a kind behind a table, for the first seed."""
    found = [leaf for leaf in plan.rendered(table).upstream() if leaf.kind is kind]
    return [leaf for leaf in found if leaf.address["seed"] == plan.seeds[0]]


def _method(method: Method, found: Counts, rate: float, iterations: int, hours: float) -> str:
    mark = "measured" if method == MEASURED[:2] else "computed"
    name, side = method
    numbers = f"{found.flop / 1e12:.2f} | {1000 * found.flop / rate:,.0f} ({mark}) | {iterations:,} | {hours:,.1f}"
    return f"| {name} | {side} | {numbers} | {found.weights / 2**30:.2f} |"


def _introduction(plan: Plan, rate: float) -> str:
    name, side, seconds = MEASURED
    return f"""# What the preset {plan.preset.name} costs

Written by `kdx2i scale --preset {plan.preset.name}`. One figure of time is measured: an iteration of {name} at
{side} px, {1000 * seconds:.0f} ms on one H100 in TF32 (`docs/speed.md`). All else is computed: the floating-point
operations of an iteration, those of products and convolutions, forwards and backwards, as PyTorch counts them, at the
rate of that one, {rate / 1e12:.1f} TFLOP/s. Narrower networks may reach less of it: their time is a lower bound.

Counted is stage 2 of {", ".join(COUNTED)}. Not counted, and in no sum: the other methods, stage 1, evaluations and
decoding of images. Memory is measured for {name} at {side} px alone ({MEMORY} GiB, `docs/speed.md`). Disk is that
of the published weights in float32; while a training runs, its checkpoints come to it. With as many GPUs as trainings a
table takes at least its longest one, after its stage 1."""
