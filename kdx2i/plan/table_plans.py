"""What a table is made of: its cells, the leaves behind them, and the budget of its rows."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from kdx2i.config import PartConfig, RowConfig, TableConfig, listed
from kdx2i.config.claims import FILE as CLAIMS_FILE
from kdx2i.errors import UserError
from kdx2i.identity import file_hash
from kdx2i.plan.kinds import CLAIMS, COMPARISON, TABLE
from kdx2i.plan.leaf import Leaf, upstream_of
from kdx2i.plan.mode import Mode
from kdx2i.plan.plan_base import OFFICIAL, PlanBase
from kdx2i.plan.scoring_plans import plan_controls, plan_evaluation
from kdx2i.plan.specs import ClaimsSpec, ComparisonSpec, ControlsSpec, EvaluationSpec, TableSpec
from kdx2i.plan.student_plans import shipped_student

NOT_YET = "not yet computed"


@dataclass(frozen=True, eq=False)
class CellPlan:
    """One row on one dataset: all metrics of it come from the same evaluations.

    `dataset` and `resolution` are the paper's, `actual_*` those of the preset (None where it has none).
    `leaves`: one evaluation for each seed; empty exactly when `reason` says why there is none.
    """

    part: str
    row: RowConfig
    mode: str
    dataset: str
    resolution: int
    actual_dataset: str | None
    actual_resolution: int | None
    leaves: tuple[Leaf[EvaluationSpec], ...]
    reason: str | None

    @property
    def key(self) -> str:
        """The cell's name for people and for `kdx2i show`: `part/label/dataset`."""
        return f"{self.part}/{self.row.label}/{self.dataset}"


@dataclass(frozen=True)
class BudgetLine:
    """The budget of one method here and in the paper (None where a number is not known).

    `distill` counts iterations of stage 1, `train` updates of the translating generator in stage 2: iterations
    are not the same thing in every official code.
    """

    architecture: str
    transfer: str
    resolution: int
    distill: int | None
    distill_paper: int | None
    train: int | None
    train_paper: int | None
    distill_batch: int | None
    distill_batch_paper: int | None
    train_batch: int | None
    train_batch_paper: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return the line as JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class TablePlan:
    """A table with its cells in the order of rows, then datasets.

    `controls`: the control values by (paper's dataset, paper's resolution), where the preset has them.
    `budget`: one line for each method that runs.
    """

    config: TableConfig
    cells: tuple[CellPlan, ...]
    controls: dict[tuple[str, int], Leaf[ControlsSpec]]
    budget: tuple[BudgetLine, ...]

    @cached_property
    def leaves(self) -> tuple[Leaf[Any], ...]:
        """The evaluations and controls that the table reads, each once."""
        by_name: dict[str, Leaf[Any]] = {leaf.name: leaf for cell in self.cells for leaf in cell.leaves}
        by_name |= {leaf.name: leaf for leaf in self.controls.values()}
        return tuple(by_name.values())

    def upstream(self) -> Iterator[Leaf[Any]]:
        """Yield every leaf behind the table, inputs before what is made from them, each once."""
        return upstream_of(self.leaves)

    def summary(self) -> list[dict[str, Any]]:
        """Return the cells as JSON: which address stands where, or why none does."""
        return [
            {"cell": cell.key, "leaves": [leaf.name for leaf in cell.leaves], "reason": cell.reason}
            for cell in self.cells
        ]


def plan_table(plan: PlanBase, config: TableConfig) -> TablePlan:
    """Derive a table's cells, controls and budget from its YAML and the preset.

    A part that asks for a metric that its task does not allow, or for a dataset of another task, raises `UserError`.
    """
    for part in config.parts:
        _check_part(plan, config, part)
    config = _with_official_rows(plan, config)
    cells = tuple(_cell(plan, config, row, dataset) for row in config.rows for dataset in config.datasets_of(row.part))
    controls = {
        (cell.dataset, cell.resolution): plan_controls(plan, cell.actual_dataset, cell.actual_resolution)
        for cell in cells
        if cell.actual_dataset is not None and cell.actual_resolution is not None
    }
    lines = {
        (cell.row.architecture, cell.row.transfer, cell.resolution): _budget(plan, cell)
        for cell in cells
        if cell.leaves
    }
    return TablePlan(config, cells, controls, tuple(lines.values()))


def _with_official_rows(plan: PlanBase, config: TableConfig) -> TableConfig:
    """Return a table with a row behind each baseline whose published checkpoint the preset names for a column."""
    rows: list[RowConfig] = []
    known: set[tuple[str, str, int]] = set()
    for row in config.rows:
        rows.append(row)
        resolution = plan.preset.resolutions.get(config.part(row.part).resolution or row.resolution)
        datasets = [plan.preset.datasets.get(name) for name in config.datasets_of(row.part)]
        files = plan.preset.official.get(row.architecture, {})
        named = any(resolution in files.get(dataset, {}) for dataset in datasets if dataset is not None)
        place = (row.part, row.architecture, row.resolution)
        if named and place not in known and row.transfer == "scratch":
            known.add(place)
            label = f"{row.label}, official weights"
            rows.append(row.model_copy(update={"label": label, "transfer": OFFICIAL}))
    return config.model_copy(update={"rows": rows}) if known else config


def _check_part(plan: PlanBase, config: TableConfig, part: PartConfig) -> None:
    """Raise `UserError` where a part's metrics or datasets do not fit its task."""
    where = f"benchmarks/tables/{config.name}.yaml, part {part.name}"
    allowed = plan.catalogue.tasks[part.task].metrics
    for metric in config.metrics_of(part.name):
        if metric not in allowed:
            raise UserError(f"{where}: {metric} means nothing for the task {part.task}; it has {listed(allowed)}")
    for name in config.datasets_of(part.name):
        dataset = plan.preset.datasets.get(name)
        task = part.task if dataset is None else plan.dataset(dataset).task
        if task != part.task:
            raise UserError(f"{where}: {dataset} is a dataset of the task {task}, not {part.task}")


def plan_rendered(plan: PlanBase, table: TablePlan) -> Leaf[TableSpec]:
    """Return the leaf of a table's files: `results/<preset>/tables/<name>.{csv,md,tex,json}`."""
    name = table.config.name
    # What a table says of the distance to the paper's setting follows from these files.
    described = (f"benchmarks/published/{name}.csv", "benchmarks/presets/paper.yaml", "benchmarks/protocol.yaml")
    spec = TableSpec(
        table=table.config,
        cells=table.summary(),
        preset={"name": plan.preset.name, "title": plan.preset.title},
        datasets=plan.preset.datasets,
        resolutions=plan.preset.resolutions,
        seeds=plan.seeds,
        budget=[line.as_dict() for line in table.budget],
        evaluation=plan.evaluation_settings,
        protocol=plan.choices,
    )
    return plan.leaf_of(
        TABLE,
        {"table": name},
        spec,
        inputs={leaf.name: leaf for leaf in table.leaves},
        files={path: file_hash(plan.root / path) for path in described},
        variant="drawn" if table.config.plot else "",
    )


def plan_comparison(plan: PlanBase, tables: dict[str, Leaf[TableSpec]]) -> Leaf[ComparisonSpec]:
    """Return the comparison of tables, by name, with the published numbers."""
    spec = ComparisonSpec(tables=tuple(tables), preset=plan.preset.name, seeds=plan.seeds)
    return plan.leaf_of(COMPARISON, {}, spec, inputs=tables)


def plan_claims(plan: PlanBase, tables: dict[str, Leaf[TableSpec]]) -> Leaf[ClaimsSpec]:
    """Return what tables, by name, say of the paper's claims; the others are said not to be run."""
    spec = ClaimsSpec(tables=tuple(tables), preset=plan.preset.name, seeds=plan.seeds)
    read = [CLAIMS_FILE, *(f"benchmarks/published/{name}.csv" for name in plan.tables)]
    return plan.leaf_of(CLAIMS, {}, spec, inputs=tables, files={path: file_hash(plan.root / path) for path in read})


def _cell(plan: PlanBase, config: TableConfig, row: RowConfig, dataset: str) -> CellPlan:
    """Plan one row on one dataset."""
    part = config.part(row.part)
    paper_resolution = part.resolution or row.resolution
    actual_dataset = plan.preset.datasets.get(dataset)
    resolution = plan.preset.resolutions.get(paper_resolution)
    reason = plan.missing_part(row.architecture, row.transfer)
    if reason is None and actual_dataset is None:
        reason = f"preset {plan.preset.name} has no dataset for {dataset}"
    if reason is None and resolution is None:
        reason = f"preset {plan.preset.name} has no resolution for {paper_resolution} px"
    reason = reason or plan.missing_part(row.architecture, row.transfer, resolution, actual_dataset)
    architectures = plan.catalogue.architectures
    if reason is None and Mode.parse(part.mode).guidance not in architectures[row.architecture].modes:
        reason = f"{row.architecture} has no mode {part.mode}"
    leaves: tuple[Leaf[EvaluationSpec], ...] = ()
    if reason is None and actual_dataset is not None and resolution is not None:
        method = (actual_dataset, row.architecture, row.transfer, resolution)
        leaves = tuple(plan_evaluation(plan, *method, seed, part.mode) for seed in plan.seeds)
    return CellPlan(
        part=row.part,
        row=row,
        mode=part.mode,
        dataset=dataset,
        resolution=paper_resolution,
        actual_dataset=actual_dataset,
        actual_resolution=resolution,
        leaves=leaves,
        reason=None if reason is None else f"{NOT_YET}: {reason}",
    )


def _budget(plan: PlanBase, cell: CellPlan) -> BudgetLine:
    """Compare the iterations and batch sizes of a cell's method with those of the paper's preset."""
    row = cell.row
    paper = plan.paper
    actual = plan.preset.resolutions[cell.resolution]
    own = plan.settings(row.architecture, actual)
    registered = plan.catalogue.architectures[row.architecture]
    papers: dict[str, Any] = {}
    if row.architecture in paper.architectures:
        where = f"preset {paper.name}, architectures.{row.architecture}"
        config = paper.architectures[row.architecture]
        papers = plan.catalogue.settings(row.architecture, config, cell.resolution, where)
    change = plan.transfers[row.transfer]
    stage_1 = change.distils
    shipped = shipped_student(plan, row.architecture, change.student or row.transfer, actual) if stage_1 else None
    if shipped is not None:
        own = {**own, "distill": shipped.spec.distill}
    return BudgetLine(
        architecture=row.architecture,
        transfer=row.transfer,
        resolution=cell.resolution,
        distill=_number(own, "distill", "iterations") if stage_1 else None,
        distill_paper=_number(papers, "distill", "iterations") if stage_1 else None,
        # How long the authors trained, their files do not say.
        train=None if row.transfer == OFFICIAL else registered.generator_updates(own["train"]),
        train_paper=registered.generator_updates(papers["train"]) if papers else None,
        distill_batch=_number(own, "distill", "batch") if stage_1 else None,
        distill_batch_paper=_number(papers, "distill", "batch") if stage_1 else None,
        train_batch=None if row.transfer == OFFICIAL else _number(own, "train", "batch"),
        train_batch_paper=_number(papers, "train", "batch"),
    )


def _number(settings: dict[str, Any], stage: str, key: str) -> int | None:
    value = settings.get(stage, {}).get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
