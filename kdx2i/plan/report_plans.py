"""What people look at: the report with the files of the repository that it shows, and the page of the user study."""

from collections.abc import Sequence

from kdx2i.config.study import FILE, StudyConfig
from kdx2i.identity import file_hash
from kdx2i.plan.figure_plans import FigurePlan, required
from kdx2i.plan.kinds import REPORT, USER_STUDY
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.plan_base import PlanBase
from kdx2i.plan.specs import ComparisonSpec, ReportSpec, Stage1Spec, StudySpec, TableSpec

# Beside the printed numbers: what the page is written with, and what it quotes.
_SHOWN = ("benchmarks/protocol.yaml", "benchmarks/published/*.csv", "benchmarks/tables/*.yaml", "docs/ladder/*.csv")
_WRITTEN_WITH = ("kdx2i/report/templates/*",)


def plan_report(
    plan: PlanBase,
    comparison: Leaf[ComparisonSpec],
    figures: Sequence[FigurePlan],
    stage1: Leaf[Stage1Spec] | None,
) -> Leaf[ReportSpec]:
    """Return the report on a comparison's tables: `results/<preset>/report.html`."""
    drawn = {figure.config.name: required(figure) for figure in figures}
    spec = ReportSpec(
        tables=comparison.spec.tables,
        figures=tuple(drawn),
        stage1=stage1 is not None,
        preset=plan.preset.name,
        seeds=plan.seeds,
    )
    paths = sorted(path for pattern in (*_SHOWN, *_WRITTEN_WITH) for path in plan.root.glob(pattern))
    names = [path.relative_to(plan.root).as_posix() for path in paths]
    claims = (plan.results / "claims.json").as_posix()
    inputs = {"comparison": comparison, **drawn, **({} if stage1 is None else {"stage1": stage1})}
    return plan.leaf_of(
        REPORT, {}, spec, inputs=inputs, files={name: file_hash(plan.root / name) for name in (*names, claims)}
    )


def plan_user_study(plan: PlanBase, config: StudyConfig, table: Leaf[TableSpec]) -> Leaf[StudySpec]:
    """Return the page of the user study on a table's evaluations: `results/<preset>/user_study.html` and its key."""
    spec = StudySpec(study=config, preset=plan.preset.name, seeds=plan.seeds)
    paths = [FILE, *(p.relative_to(plan.root).as_posix() for p in sorted(plan.root.glob("kdx2i/study/templates/*")))]
    files = {path: file_hash(plan.root / path) for path in paths}
    return plan.leaf_of(USER_STUDY, {}, spec, inputs={config.table: table}, files=files)
