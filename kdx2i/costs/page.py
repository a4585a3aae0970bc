"""What a preset costs, as a page: `docs/scale.md`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdx2i.costs.jobs import FLOAT32, TF32, Jobs
from kdx2i.costs.made_up import SECONDS, WORDS
from kdx2i.costs.sheet import GIB, Cost, write_costs
from kdx2i.files import write_text
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.leaf import upstream_of


def write(plan: Plan) -> list[Path]:
    """Write the page and the file of a preset's costs and return their paths."""
    costs = Jobs(plan).costs()
    page = plan.root / "docs" / "scale.md"
    write_text(page, "\n".join(lines(plan, costs)) + "\n")
    return [page, write_costs(plan.root, plan.preset.name, costs.values())]


def lines(plan: Plan, costs: Mapping[str, Cost]) -> list[str]:
    """Return the lines of the page."""
    tables = {name: [plan.rendered(name)] for name in plan.tables}
    tables["all"] = [leaf for leaves in list(tables.values()) for leaf in leaves]
    return [
        _introduction(plan),
        "",
        "## Per table",
        "",
        _PER_TABLE,
        "",
        *_table(_TOTALS, [_totals(name, leaves, costs) for name, leaves in tables.items()]),
        "",
        "## Trainings",
        "",
        *_table(_TRAININGS, _trainings(plan, costs)),
        "",
        "## Scoring",
        "",
        *_table(("what", "jobs", "hours each"), _scoring(plan, costs)),
        "",
        "## Jobs without a GPU",
        "",
        f"{_without(costs)}. What they take of a processor is not counted.",
    ]


_TOTALS = (
    *("table", "jobs", "GPU hours", "each further seed", "longest chain, hours"),
    *("published GiB", "checkpoint GiB", "GPU GiB at most"),
)
_TRAININGS = (
    *("training", "jobs", "TFLOP an iteration", "iterations", "hours each"),
    *("GPU GiB", "checkpoint GiB", "published GiB"),
)
_PER_TABLE = """Hours are of one H100, for one seed; `each further seed` leaves out what seeds share (classifiers, the
segmenter, controls). The longest chain is what a table takes with as many GPUs as it has jobs. `published` is what
stays on the disk, `checkpoint` the largest one: a training holds the last two, and a third while it writes it. Tables
share jobs: `all` counts each once."""


def _introduction(plan: Plan) -> str:
    name = plan.preset.name
    return f"""# What the preset {name} costs

Written by `kdx2i scale --preset {name}` (about three minutes of a processor), with `benchmarks/costs/{name}.csv`,
which has a row for each job of `snakemake -n tables --config preset={name}`; from it the workflow takes run times and
memory on a cluster (`profiles/README.md`).

- Counted: TFLOP, the products and convolutions of the real networks and the real step of each method, forwards and
  backwards, on PyTorch's meta device and by its own formulas; phases of a training by their length.
- Counted: GPU GiB, the most bytes of tensors that are alive in an iteration, in float32 and without the workspaces of
  libraries. For StarGAN v2 at 256 px these are 8.8, and 9.7 were measured on an H100 (`docs/speed.md`).
- Counted: checkpoints and what is published, networks with averages, in a checkpoint with Adam's moments. A student's
  file is smaller than what is stated.
- Measured: the hours of StarGAN v2 at 256 px, 398 ms an iteration of 149 domains on one H100 in TF32
  (`docs/speed.md`).
- Computed: all other hours, TFLOP at the rate of that iteration, {TF32 / 1e12:.1f} TFLOP/s in TF32 for trainings and
  for making images, {FLOAT32 / 1e12:.1f} in float32 for feature networks, classifiers and the segmenter, which run in
  it. Networks of many small kernels reach less: their hours are a lower bound.
- Measured: writing a checkpoint takes 1.0 times its size of the host's memory, beside what the process has (732 MiB
  on a CPU). What an evaluation holds there is not measured.
- Stated: sizes of data sets, in `benchmarks/datasets/`; of Birds and Foods those of the paper (48,527 and 31,395
  images).
- Assumed: teachers of StyleGAN2's configuration `paper256`, encoders of their published sizes, captions of {WORDS}
  words, utterances of {SECONDS} s.
- Not counted: reading and decoding of images, statistics of features (`docs/speed.md`), grids, measures of a student
  (some hundred images), the memory of a GPU that scores. Encoders, teachers and weights of others are given, not
  trained.

An evaluation makes and embeds the images of the trained and of the untrained method, trains FC's network on the
former, and makes the images of LPIPS; controls embed all real images and train FC's network four times."""


def _totals(name: str, tables: Sequence[Leaf[Any]], costs: Mapping[str, Cost]) -> list[str]:
    leaves = [leaf for leaf in upstream_of(list(tables)) if leaf.name in costs]
    own = [costs[leaf.name] for leaf in leaves]
    seeded = sum(costs[leaf.name].hours for leaf in leaves if "seed" in leaf.address)
    chains: dict[str, float] = {}
    for leaf in leaves:
        before = [chains.get(other.name, 0.0) for other in leaf.inputs.values()]
        chains[leaf.name] = costs[leaf.name].hours + max(before, default=0.0)
    numbers = [sum(cost.hours for cost in own), seeded, max(chains.values())]
    sizes = [sum(cost.published for cost in own), *(max(getattr(c, f) for c in own) for f in ("checkpoint", "gpu"))]
    return [name, str(len(own)), *(f"{number:,.1f}" for number in numbers), *(f"{size / GIB:,.1f}" for size in sizes)]


def _trainings(plan: Plan, costs: Mapping[str, Cost]) -> list[list[str]]:
    rows: dict[tuple[str, ...], int] = {}
    for leaf in _leaves(plan, costs):
        cost, spec = costs[leaf.name], leaf.spec
        if leaf.kind.name not in ("run", "distilled"):
            continue
        stage, budget = (f"on {spec.dataset}", spec.train) if leaf.kind.name == "run" else (spec.transfer, spec.distill)
        title = f"{spec.architecture} {spec.resolution} px {'' if leaf.kind.name == 'run' else 'stage 1, '}{stage}"
        iterations = int(budget["iterations"])
        flop = cost.hours * 3600 * TF32 / iterations / 1e12
        sizes = [f"{size / GIB:.1f}" for size in (cost.gpu, cost.checkpoint, cost.published)]
        key = (title, f"{flop:.2f}", f"{iterations:,}", f"{cost.hours:,.1f} ({cost.how})", *sizes)
        rows[key] = rows.get(key, 0) + 1
    return [[key[0], str(count), *key[1:]] for key, count in sorted(rows.items())]


def _scoring(plan: Plan, costs: Mapping[str, Cost]) -> list[list[str]]:
    rows: dict[tuple[str, str], int] = {}
    for leaf in _leaves(plan, costs):
        cost, spec, kind = costs[leaf.name], leaf.spec, leaf.kind.name
        if kind not in ("evaluation", "controls", "classifier", "segmenter"):
            continue
        method = f" of {spec.architecture}" if kind == "evaluation" else ""
        title = f"{kind}{method} on {spec.dataset} at {spec.resolution} px"
        key = (title, f"{cost.hours:.3f} ({cost.how})")
        rows[key] = rows.get(key, 0) + 1
    return [[title, str(count), hours] for (title, hours), count in sorted(rows.items())]


def _without(costs: Mapping[str, Cost]) -> str:
    kinds: dict[tuple[str, str], int] = {}
    for cost in costs.values():
        if not cost.how.startswith(("measured", "computed")):
            kinds[cost.kind, cost.how] = kinds.get((cost.kind, cost.how), 0) + 1
    return ", ".join(f"{count} of kind {kind} ({how})" for (kind, how), count in sorted(kinds.items()))


def _leaves(plan: Plan, costs: Mapping[str, Cost]) -> Iterable[Leaf[Any]]:
    return (leaf for leaf in upstream_of([plan.rendered(name) for name in plan.tables]) if leaf.name in costs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    marks = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (head, marks, *rows)]
