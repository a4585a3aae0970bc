"""What each kind of result is made from: one typed spec a kind, hashed as JSON into the result's identity."""

from typing import Any

from pydantic import Field

from kdx2i.config import ConditionKind, Settings, SourceConfig, SplitRule, Strict, TableConfig, TaskName
from kdx2i.config.figures import FigureConfig
from kdx2i.config.models import HELD_OUT
from kdx2i.config.study import StudyConfig


class Spec(Strict):
    """The base of all specs: what its stage needs to know, beside the results and files that it reads.

    `protocol`: the register's choices that the result depends on and that no other field holds, by identifier.
    """

    protocol: dict[str, str] = Field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the spec as JSON values, without what is left out where it is as usual.

        What reads no encoder of conditions does not mention one, nor a student its usual number of held-out triplets.
        """
        values = self.model_dump(mode="json")
        if values.get("encoder_file", "") is None:
            del values["encoder_file"]
        if values.get("held_out") == HELD_OUT:
            del values["held_out"]
        return values


class SplitSpec(Spec):
    """A split: the source and the rule of its dataset, without what only describes it."""

    name: str
    conditions: tuple[ConditionKind, ...]
    labels: tuple[str, ...]
    source: SourceConfig
    reader: str
    options: Settings
    split: SplitRule


class TeacherSpec(Spec):
    """A teacher that is trained: the settings of `benchmarks/teachers/<name>.yaml`, with defaults."""

    teacher: str
    dataset: str
    resolution: int
    seed: int
    config: Settings


class FeaturesSpec(Spec):
    """A feature network: the settings of `benchmarks/features/<name>.yaml`, with defaults, and one seed."""

    features: str
    seed: int
    config: Settings


class EncoderSpec(Spec):
    """An encoder of conditions: the settings of `benchmarks/encoders/<name>.yaml`, with defaults."""

    encoder: str
    dataset: str
    resolution: int
    seed: int
    config: Settings


class MethodSpec(Spec):
    """What students, runs and evaluations share: a method at a resolution, and one seed.

    `networks` are the settings of its networks; `resolution` is in pixels.
    """

    architecture: str
    transfer: str
    resolution: int
    seed: int
    networks: Settings


class DistillSpec(MethodSpec):
    """A distilled student (stage 1): what the transfer changes, the teacher, the settings of stage 1.

    `distillation` is that of the architecture's task; `teacher_file` is relative to the repository's root; `held_out`
    is the number of triplets that it is measured on.
    """

    distillation: str
    transfer_settings: Settings
    teacher: str
    teacher_file: str
    distill: Settings
    held_out: int = HELD_OUT


class MeasuredSpec(DistillSpec):
    """A shipped student that is measured on this machine: what it was distilled from, and its file."""

    student_file: str


class RunSpec(MethodSpec):
    """A run (stage 2) on a dataset; `teacher` and `teacher_file` only where it starts from a teacher itself.

    `student_file`: the shipped student that it starts from; None where it is distilled, or where there is none.
    `discriminator_file`: the same of the student whose discriminator it takes, where that is another one.
    `encoder_file`: the encoder of its dataset's conditions; None where the preset names none.
    """

    task: TaskName
    dataset: str
    transfer_settings: Settings
    train: Settings
    student_file: str | None = None
    discriminator_file: str | None = None
    teacher: str | None = None
    teacher_file: str | None = None
    encoder_file: str | None = None


class EvaluationSpec(MethodSpec):
    """A run asked in one mode: guidance, source and target class of a direction, the evaluation's settings.

    `metrics` are the functions that compute them by name, in the order in which they are written. `encoder_file`: the
    encoder of the dataset's conditions, where a metric asks it and there is one.
    """

    task: TaskName
    dataset: str
    mode: str
    guidance: str
    direction: tuple[str, str] | None
    metrics: dict[str, str]
    evaluation: Settings
    encoder_file: str | None = None


class ControlsSpec(Spec):
    """The control values of a dataset; `directions` are (source, target) classes by the paper's name.

    `metrics` and `directed_metrics`, of all classes and of a direction, and `encoder_file` as in `EvaluationSpec`.
    """

    task: TaskName
    dataset: str
    resolution: int
    directions: dict[str, tuple[str, str]]
    metrics: dict[str, str]
    directed_metrics: dict[str, str]
    evaluation: Settings
    encoder_file: str | None = None


class ClassifierSpec(Spec):
    """The classifier of RC on a dataset's real images: the settings of the evaluation that count for it."""

    task: TaskName
    dataset: str
    resolution: int
    evaluation: Settings


class SegmenterSpec(Spec):
    """The segmenter of mIoU on a dataset's real label maps."""

    dataset: str
    resolution: int
    segmenter: Settings
    seed: int


class TableSpec(Spec):
    """A table: its YAML, its cells and budget, and the conditions that it states about itself."""

    table: TableConfig
    cells: list[Settings]
    preset: dict[str, str]
    datasets: dict[str, str]
    resolutions: dict[int, int]
    seeds: tuple[int, ...]
    budget: list[Settings]
    evaluation: Settings


class DrawnMethod(Strict):
    """A method of a figure: `input` is the role of its run or student among the figure's inputs."""

    label: str
    input: str
    resolution: int


class FigureSpec(Spec):
    """A qualitative figure: its YAML, the methods that are drawn, and why others are not."""

    figure: FigureConfig
    methods: list[DrawnMethod]
    left_out: dict[str, str]
    dataset: str | None
    seed: int


class Stage1Spec(Spec):
    """The measures of stage 1 of all students that the tables of a preset need; `students` are their addresses."""

    students: tuple[str, ...]
    preset: str
    seeds: tuple[int, ...]


class ClaimsSpec(Spec):
    """What the tables that are there say of the paper's claims; the claims themselves are a file of the leaf."""

    tables: tuple[str, ...]
    preset: str
    seeds: tuple[int, ...]


class ComparisonSpec(Spec):
    """The comparison of tables with the published numbers."""

    tables: tuple[str, ...]
    preset: str
    seeds: tuple[int, ...]


class ReportSpec(Spec):
    """The report on tables and figures, and on the measures of stage 1 where `stage1` says so."""

    tables: tuple[str, ...]
    figures: tuple[str, ...]
    stage1: bool
    preset: str
    seeds: tuple[int, ...]


class StudySpec(Spec):
    """The page of the user study: its design, and the preset whose table it shows."""

    study: StudyConfig
    preset: str
    seeds: tuple[int, ...]
