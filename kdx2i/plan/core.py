"""The plan: which results a preset has, where they lie and what each is made from."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdx2i.config import load_figure, names_in
from kdx2i.config.models import listed
from kdx2i.config.study import load_study
from kdx2i.errors import UserError
from kdx2i.plan.encoder_plans import plan_encoder
from kdx2i.plan.figure_plans import FigurePlan, plan_figure, required
from kdx2i.plan.kinds import POSITIONAL, kind_at
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.plan_base import PlanBase
from kdx2i.plan.report_plans import plan_report, plan_user_study
from kdx2i.plan.scoring_plans import plan_classifier, plan_controls, plan_evaluation, plan_segmenter
from kdx2i.plan.specs import (
    ClaimsSpec,
    ClassifierSpec,
    ComparisonSpec,
    ControlsSpec,
    DistillSpec,
    EncoderSpec,
    EvaluationSpec,
    FeaturesSpec,
    FigureSpec,
    MeasuredSpec,
    ReportSpec,
    RunSpec,
    SegmenterSpec,
    SplitSpec,
    Stage1Spec,
    StudySpec,
    TableSpec,
    TeacherSpec,
)
from kdx2i.plan.student_plans import plan_distilled, plan_measured, plan_stage1, plan_student
from kdx2i.plan.table_plans import TablePlan, plan_claims, plan_comparison, plan_rendered, plan_table
from kdx2i.plan.teacher_plans import plan_features, plan_split, plan_teacher
from kdx2i.plan.training_plans import plan_run


class Plan(PlanBase):
    """The leaves of one preset.

    Each method returns the one leaf of its address; a name that the preset or the suite does not know raises
    `UserError` with the known ones.
    """

    def for_preset(self, preset: str, seeds: Sequence[int] | None = None) -> "Plan":
        """Return the plan of a preset of the same repository, seen with the same catalogue."""
        return Plan(self.root, preset, seeds, self.catalogue)

    def leaf(self, kind: str, **address: str | int) -> Leaf[Any]:
        """Return the leaf of a kind (`kdx2i.plan.kinds`) at an address, given by the kind's fields."""
        planners: dict[str, Callable[..., Leaf[Any]]] = {
            "split": self.split,
            "teacher": self.teacher,
            "features": self.features,
            "encoder": self.encoder,
            "distilled": self.distilled,
            "student": self.student,
            "measured": self.measured,
            "run": self.run,
            "evaluation": self.evaluation,
            "controls": self.controls,
            "classifier": self.classifier,
            "segmenter": self.segmenter,
            "table": self.rendered,
            "figure": self.figure,
            "stage1": self.stage1,
            "comparison": self.comparison,
            "claims": self.claims,
            "report": self.report,
            "user_study": self.user_study,
        }
        return planners[kind](**address)

    def split(self, dataset: str) -> Leaf[SplitSpec]:
        """Return the split of a dataset, which all presets share."""
        return plan_split(self, dataset)

    def teacher(self, teacher: str) -> Leaf[TeacherSpec]:
        """Return a teacher that the suite trains."""
        return plan_teacher(self, teacher)

    def features(self, features: str, seed: int) -> Leaf[FeaturesSpec]:
        """Return a feature network that the suite trains, from one seed."""
        return plan_features(self, features, seed)

    def encoder(self, encoder: str) -> Leaf[EncoderSpec]:
        """Return an encoder of conditions that the suite trains."""
        return plan_encoder(self, encoder)

    def distilled(self, architecture: str, transfer: str, resolution: int, seed: int) -> Leaf[DistillSpec]:
        """Return the student that stage 1 distils from the preset's teacher."""
        return plan_distilled(self, architecture, transfer, resolution, seed)

    def student(self, student: str) -> Leaf[DistillSpec]:
        """Return a student that is made from a recipe, to be shipped."""
        return plan_student(self, student)

    def measured(self, architecture: str, transfer: str, resolution: int) -> Leaf[MeasuredSpec]:
        """Return the measures of a shipped student of the preset, taken here."""
        return plan_measured(self, architecture, transfer, resolution)

    def run(self, dataset: str, architecture: str, transfer: str, resolution: int, seed: int) -> Leaf[RunSpec]:
        """Return the run of a method on a dataset (stage 2)."""
        return plan_run(self, dataset, architecture, transfer, resolution, seed)

    def evaluation(
        self, dataset: str, architecture: str, transfer: str, resolution: int, seed: int, mode: str
    ) -> Leaf[EvaluationSpec]:
        """Return the evaluation of a run in one mode."""
        return plan_evaluation(self, dataset, architecture, transfer, resolution, seed, mode)

    def controls(self, dataset: str, resolution: int) -> Leaf[ControlsSpec]:
        """Return the control values of a dataset."""
        return plan_controls(self, dataset, resolution)

    def classifier(self, dataset: str, resolution: int) -> Leaf[ClassifierSpec]:
        """Return the classifier of RC on a dataset."""
        return plan_classifier(self, dataset, resolution)

    def segmenter(self, dataset: str, resolution: int) -> Leaf[SegmenterSpec]:
        """Return the segmenter of mIoU on a dataset."""
        return plan_segmenter(self, dataset, resolution)

    @cached_property
    def _tables(self) -> dict[str, TablePlan]:
        return {}

    def table(self, name: str) -> TablePlan:
        """Return what a table is made of: cells with their leaves, or with the reason that they have none."""
        if name not in self.tables:
            raise UserError(f"there is no table `{name}`; the tables are {listed(self.tables)}")
        if name not in self._tables:
            self._tables[name] = plan_table(self, self.table_configs[name])
        return self._tables[name]

    def rendered(self, table: str) -> Leaf[TableSpec]:
        """Return the leaf of a table's files."""
        return plan_rendered(self, self.table(table))

    @cached_property
    def figures(self) -> dict[str, FigurePlan]:
        """The qualitative figures by name."""
        names = names_in(self.root / "benchmarks" / "figures")
        return {name: plan_figure(self, load_figure(self.root, name)) for name in names}

    def figure(self, figure: str) -> Leaf[FigureSpec]:
        """Return the leaf of a qualitative figure; `UserError` where the preset cannot draw it."""
        if figure not in self.figures:
            raise UserError(f"there is no figure `{figure}`; the figures are {listed(self.figures)}")
        return required(self.figures[figure])

    def stage1(self) -> Leaf[Stage1Spec]:
        """Return the table of the measures of every student that the preset's tables need."""
        leaves = [leaf.inputs["run"] for name in self.tables for cell in self.table(name).cells for leaf in cell.leaves]
        return plan_stage1(self, leaves)

    def stage1_if_any(self) -> Leaf[Stage1Spec] | None:
        """Return `stage1`, None where no table of the preset needs a student."""
        needed = any(
            self.transfers[cell.row.transfer].distils
            for name in self.tables
            for cell in self.table(name).cells
            if cell.leaves
        )
        return self.stage1() if needed else None

    def comparison(self, tables: Iterable[str] | None = None) -> Leaf[ComparisonSpec]:
        """Return the comparison of tables (default: all) with the published numbers."""
        names = sorted(self.tables if tables is None else tables)
        return plan_comparison(self, {name: self.rendered(name) for name in names})

    def claims(self, tables: Iterable[str] | None = None) -> Leaf[ClaimsSpec]:
        """Return what tables (default: all) say of the paper's claims."""
        names = sorted(self.tables if tables is None else tables)
        return plan_claims(self, {name: self.rendered(name) for name in names})

    def report(
        self, tables: Iterable[str] | None = None, figures: Iterable[str] = (), *, stage1: bool = False
    ) -> Leaf[ReportSpec]:
        """Return the report on tables (default: all) and figures, with the measures of stage 1 where asked."""
        drawn = [self.figures[name] for name in sorted(figures)]
        return plan_report(self, self.comparison(tables), drawn, self.stage1() if stage1 else None)

    def user_study(self) -> Leaf[StudySpec]:
        """Return the page of the user study (`benchmarks/user_study.yaml`)."""
        config = load_study(self.root)
        return plan_user_study(self, config, self.rendered(config.table))

    # -- from an address to its leaf, and to its command -----------------------------------------------

    def leaf_at(self, provenance: Path) -> Leaf[Any]:
        """Return the leaf whose provenance file stands at `provenance` (relative to the root).

        A path that is no leaf's address, or whose names the preset does not have, raises `UserError`.
        """
        kind, address = kind_at(self.results, provenance)
        return self.leaf(kind.name, **address)

    def command(self, leaf: Leaf[Any]) -> list[str]:
        """Return the command line, as words, that makes a leaf (after what it is made from)."""
        words = ["kdx2i", leaf.kind.command, "--preset", self.preset_argument]
        if leaf.kind.seeded:
            words += ["--seeds", ",".join(str(seed) for seed in self.seeds)]
        for field in leaf.kind.fields:
            value = str(leaf.address[field])
            words += [value] if field in POSITIONAL else [f"--{field}", value]
        return [*words, *getattr(leaf.spec, "tables", ())]
