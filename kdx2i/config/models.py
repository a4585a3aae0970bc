"""The shapes of the YAML files: datasets, tables, presets and the protocol register.

Every model forbids unknown keys.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from kdx2i.metric_catalogue import check_metric

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MetricName = Annotated[str, AfterValidator(check_metric)]
ConditionKind = Literal["captions", "speech", "label-maps"]
TaskName = Literal["image-to-image", "text", "speech", "label-map"]
Stage = Literal["split", "teacher", "encoder", "distill", "train", "evaluate", "table", "compare"]
Settings = dict[str, JsonValue]


def _is_galleries(count: int) -> int:
    if count > 100 and count % 100:
        raise ValueError("more than 100 must be a multiple of 100, as retrieval is among 100")
    return count


HELD_OUT = 400
"""Triplets that a student is measured on, where a preset says nothing else."""
HeldOut = Annotated[int, Field(ge=2, multiple_of=2), AfterValidator(_is_galleries)]
# What a model of each task is given besides images and classes; the other kinds may accompany it.
CONDITION_OF: dict[TaskName, ConditionKind] = {"text": "captions", "speech": "speech", "label-map": "label-maps"}


class Strict(BaseModel):
    """A model that refuses unknown keys and cannot be changed once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceFile(Strict):
    """One file that a dataset is made from: in the repository (`path`) or published (`url`).

    `sha256: null` is for archives that each user makes from published files: then the file at hand counts.
    """

    path: str | None = None
    url: str | None = None
    sha256: Sha256 | None

    @model_validator(mode="after")
    def _has_a_place(self) -> "SourceFile":
        if self.path is None and self.url is None:
            raise ValueError("give a `path` in the repository, a `url`, or both")
        return self


class SourceConfig(Strict):
    """Where a dataset's bytes come from: the pack embedded in the repository, or an archive."""

    kind: Literal["embedded", "archive"]
    files: dict[str, SourceFile] = Field(min_length=1)


class SplitRule(Strict):
    """How images are dealt to the roles train and test.

    `manifest`: the source says it itself. `per-class`: `train` and `test` images of each class
    (`test: null` is all the rest). `fraction`: these shares of each class. `disjoint`: no class has images in
    both roles, as where a model is tested on classes that it has never seen.
    """

    rule: Literal["manifest", "per-class", "fraction"]
    train: int | float | None = None
    test: int | float | None = None
    seed: int = Field(default=0, ge=0)
    disjoint: bool = False

    @model_validator(mode="after")
    def _sizes_fit_the_rule(self) -> "SplitRule":
        sizes = [size for size in (self.train, self.test) if size is not None]
        if self.rule == "manifest" and sizes:
            raise ValueError("the rule `manifest` takes no `train` or `test`: the manifest has the roles")
        if self.rule != "manifest" and self.train is None:
            raise ValueError(f"the rule `{self.rule}` needs `train`")
        if self.rule == "per-class" and any(not isinstance(s, int) or s < 0 for s in sizes):
            raise ValueError("the rule `per-class` needs whole numbers of images")
        if self.rule == "fraction" and (any(s < 0 for s in sizes) or sum(sizes) > 1):
            raise ValueError("the rule `fraction` needs shares that add up to at most 1")
        return self


class ExpectedCounts(Strict):
    """What is known of a published set: its classes, and the images of each role that its split takes."""

    classes: int | None = Field(default=None, ge=1)
    train: int | None = Field(default=None, ge=0)
    test: int | None = Field(default=None, ge=0)


class DatasetConfig(Strict):
    """One dataset: `benchmarks/datasets/<name>.yaml`.

    `task` says what a model is given, `conditions` which files each image has for that (none where the images
    and their classes are all), `labels` the names of the numbers in its label maps, from 0 on. `expects` decides what
    is refused and never what a split is.
    """

    name: Name
    title: str
    stands_for: Name | None = None
    task: TaskName = "image-to-image"
    conditions: tuple[ConditionKind, ...] = ()
    labels: tuple[str, ...] = Field(default=(), max_length=256)
    source: SourceConfig
    licence: str
    class_names: dict[Name, str] = Field(
        default_factory=dict, description="the paper's names of classes that are called otherwise here"
    )
    reader: Name
    options: Settings = Field(default_factory=dict)
    split: SplitRule
    expects: ExpectedCounts = ExpectedCounts()

    @model_validator(mode="after")
    def _conditions_fit_the_task(self) -> "DatasetConfig":
        needed = CONDITION_OF.get(self.task)
        if needed is None and self.conditions:
            raise ValueError(f"the task {self.task} has no `conditions`")
        if needed is not None and needed not in self.conditions:
            raise ValueError(f"the task {self.task} needs `{needed}` among its `conditions`")
        if len(set(self.conditions)) < len(self.conditions) or len(set(self.labels)) < len(self.labels):
            raise ValueError("`conditions` or `labels` names something twice")
        if ("label-maps" in self.conditions) != bool(self.labels):
            raise ValueError("`labels` names the numbers of label maps: give both, or none")
        return self


class PartConfig(Strict):
    """A part of a table: one way of asking a run for images.

    `task` is that of its methods and datasets. `datasets` and `metrics` replace the table's columns in this part;
    `resolution` replaces that of its rows.
    """

    name: Name
    title: str
    mode: Name
    task: TaskName = "image-to-image"
    resolution: int | None = Field(default=None, gt=0)
    datasets: list[Name] | None = Field(default=None, min_length=1)
    metrics: list[MetricName] | None = Field(default=None, min_length=1)


class RowConfig(Strict):
    """A row of a table: a method (architecture x transfer) at a resolution of the paper."""

    part: Name
    label: str
    architecture: Name
    transfer: Name
    resolution: int = Field(gt=0)


class ColumnsConfig(Strict):
    """The columns of a table: datasets (the paper's names) x metrics."""

    datasets: list[Name] = Field(min_length=1)
    metrics: list[MetricName] = Field(min_length=1)


class TableConfig(Strict):
    """One table of the paper: `benchmarks/tables/<name>.yaml`. Control rows are added by themselves.

    `plot`: it is drawn as bars too.
    """

    name: Name
    title: str
    caption: str
    plot: bool = False
    parts: list[PartConfig] = Field(min_length=1)
    rows: list[RowConfig] = Field(min_length=1)
    columns: ColumnsConfig

    @model_validator(mode="after")
    def _rows_have_parts(self) -> "TableConfig":
        names = [part.name for part in self.parts]
        for row in self.rows:
            if row.part not in names:
                raise ValueError(f"row `{row.label}` names the part `{row.part}`; the parts are {listed(names)}")
        keys = [(row.part, row.label) for row in self.rows]
        if len(set(names)) < len(names) or len(set(keys)) < len(keys):
            raise ValueError("two parts share a name, or two rows of one part share a label")
        return self

    def part(self, name: str) -> PartConfig:
        """Return the part with this name."""
        return next(part for part in self.parts if part.name == name)

    def datasets_of(self, part: str) -> list[str]:
        """Return the datasets (the paper's names) of a part, in the order of its columns."""
        return self.part(part).datasets or self.columns.datasets

    def metrics_of(self, part: str) -> list[MetricName]:
        """Return the metrics of a part, in the order of its columns."""
        return self.part(part).metrics or self.columns.metrics


class StageSettings(Strict):
    """Sizes and budgets of one architecture, and the teacher that it is distilled or started from."""

    teacher: Name | None = None
    networks: Settings = Field(default_factory=dict)
    distill: Settings = Field(default_factory=dict)
    train: Settings = Field(default_factory=dict)


class ArchitectureConfig(StageSettings):
    """Settings of one architecture; those of `by_resolution` (pixels here) are merged over the rest."""

    by_resolution: dict[int, StageSettings] = Field(default_factory=dict)

    def at(self, resolution: int) -> StageSettings:
        """Return what `by_resolution` says of a resolution: nothing where it is silent."""
        return self.by_resolution.get(resolution, StageSettings())


class ResourcesConfig(Strict):
    """What one training job asks of the machine: CPU threads, and GPUs (0: it runs on the CPU)."""

    threads: int = Field(default=1, gt=0)
    gpus: int = Field(default=0, ge=0)


class CheckpointsConfig(Strict):
    """How often a training is saved: after so many minutes or steps, whichever comes first; None: steps do not count.

    It changes no byte of a result and is no part of one's identity.
    """

    minutes: float = Field(default=15, gt=0, allow_inf_nan=False)
    steps: int | None = Field(default=None, ge=1)


class PresetConfig(Strict):
    """Sizes, budgets and dataset choices: `benchmarks/presets/<name>.yaml`.

    `datasets` and `resolutions` map the paper's names and pixels to those used here; `teachers` maps
    a teacher's name to one weight file for each resolution. `students` names the shipped student that stage 2 starts
    from, by architecture, transfer and resolution; what it does not name is distilled. `encoders` names by dataset (its
    name here) the encoder of its conditions: a file, or a recipe of `benchmarks/encoders`. The keys of `evaluation` are
    those of `kdx2i.metrics.settings`, those of an architecture those of its own `settings` module; those of
    `transfers` say how the ablations are read (`kdx2i.distill.transfers`). `official` names checkpoints that authors
    published, by architecture, dataset (its name here) and pixels: each becomes a row beside the reproduced one.
    `held_out` is the number of held-out triplets that a distilled student is measured on.
    """

    name: Name
    title: str
    extends: Name | None = None
    datasets: dict[Name, Name] = Field(min_length=1)
    resolutions: dict[int, int] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    teachers: dict[Name, dict[int, str]] = Field(default_factory=dict)
    students: dict[Name, dict[Name, dict[int, str]]] = Field(default_factory=dict)
    encoders: dict[Name, str] = Field(default_factory=dict)
    official: dict[Name, dict[Name, dict[int, str]]] = Field(default_factory=dict)
    architectures: dict[Name, ArchitectureConfig]
    evaluation: Settings
    transfers: Settings = Field(default_factory=dict)
    protocol: dict[Name, str] = Field(default_factory=dict)
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    checkpoints: CheckpointsConfig = Field(default_factory=CheckpointsConfig)
    held_out: HeldOut = HELD_OUT

    @model_validator(mode="after")
    def _is_consistent(self) -> "PresetConfig":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("`seeds` names a seed twice")
        for name, architecture in self.architectures.items():
            for settings in (architecture, *architecture.by_resolution.values()):
                if settings.teacher is not None and settings.teacher not in self.teachers:
                    raise ValueError(
                        f"architectures.{name} names the teacher `{settings.teacher}`; "
                        f"the teachers of this preset are {listed(self.teachers)}"
                    )
        return self


class ProtocolEntry(Strict):
    """One choice that the paper leaves open, or one contradiction in it.

    `chosen` is what the preset `paper` takes. `key` is the key of a preset that switches it (`protocol.<id>` where
    the entry itself is the switch; `architectures.*.distill.<key>` is that of every architecture that has it). An entry
    with several alternatives and no key says in `no_switch` why a preset cannot choose, and what can. `affects` are the
    stages whose results depend on it.
    """

    id: Name
    title: str
    kind: Literal["choice", "contradiction"] = "choice"
    passage: str
    alternatives: dict[str, str] = Field(min_length=1)
    chosen: str
    why: str
    key: str | None = None
    no_switch: str | None = None
    affects: list[Stage] = Field(min_length=1)

    @model_validator(mode="after")
    def _choice_exists(self) -> "ProtocolEntry":
        if self.chosen not in self.alternatives:
            raise ValueError(f"`{self.id}` chooses `{self.chosen}`; it has {listed(self.alternatives)}")
        return self

    @model_validator(mode="after")
    def _is_switched_or_says_why_not(self) -> "ProtocolEntry":
        if (self.key is None) == (self.no_switch is None) and (self.key is not None or len(self.alternatives) > 1):
            raise ValueError(f"`{self.id}` needs either a `key` or the reason `no_switch`")
        return self


class ProtocolRegister(Strict):
    """The protocol register, `benchmarks/protocol.yaml`."""

    entries: list[ProtocolEntry]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "ProtocolRegister":
        ids = [entry.id for entry in self.entries]
        if len(set(ids)) < len(ids):
            raise ValueError("two entries share an id")
        return self

    def choices(self, preset: PresetConfig) -> dict[str, str]:
        """Return the choice that `preset` makes for each entry, by identifier."""
        chosen: dict[str, str] = {}
        data = preset.model_dump(mode="json")
        for entry in self.entries:
            own = preset.protocol.get(entry.id, entry.chosen)
            switched_elsewhere = entry.key is not None and not entry.key.startswith("protocol.")
            values = _all_at(data, entry.key) if switched_elsewhere and entry.key else []
            chosen[entry.id] = ", ".join(dict.fromkeys(map(_plain, values))) if values else own
            if entry.key == "students":
                chosen[entry.id] = "named" if preset.students else "none"
            if entry.key == "encoders":
                kinds = {"file" if is_file(source) else "recipe" for source in preset.encoders.values()}
                chosen[entry.id] = ", ".join(sorted(kinds)) or "none"
        return chosen


def _all_at(data: Any, key: str) -> list[Any]:
    """Return the values at a dotted key of a preset: its own, else those that an architecture has by resolution.

    `architectures.*` stands for every architecture that has the setting.
    """
    room, _, rest = key.partition(".")
    name, _, inner = rest.partition(".")
    if name == "*":
        return [value for own in data[room] for value in _all_at(data, f"{room}.{own}.{inner}")]
    values = [_at(data, key)]
    if room == "architectures" and values == [None] and name in data[room]:
        values = [_at(settings, inner) for settings in data[room][name]["by_resolution"].values()]
    return [value for value in values if value is not None]


def _at(data: Any, key: str) -> Any:
    """Return the value at a dotted key of nested mappings, or None."""
    for step in key.split("."):
        if not isinstance(data, Mapping) or step not in data:
            return None
        data = data[step]
    return data


def is_file(source: str) -> bool:
    """Tell whether what a preset names is a file; otherwise it is the name of a recipe."""
    return "/" in source or source.endswith(".safetensors")


def _plain(value: Any) -> str:
    """Write a JSON value the way that the register's alternatives are written."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def listed(names: Iterable[object]) -> str:
    """Write names as a readable list, sorted."""
    return ", ".join(sorted(str(name) for name in names)) or "(none)"
