"""What every planner asks: the preset, the catalogue, the protocol's choices, and which parts of tables ask for what.

Everything is derived from the YAML files of `benchmarks/`; nothing here imports torch or runs a job.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from kdx2i.config import (
    DatasetConfig,
    PartConfig,
    PresetConfig,
    ProtocolRegister,
    TableConfig,
    load_dataset,
    load_preset,
    load_protocol,
    load_table,
    names_in,
    validate,
)
from kdx2i.config.models import listed
from kdx2i.errors import UserError
from kdx2i.identity import file_hash
from kdx2i.plan.kinds import Address, Kind
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.mode import Mode
from kdx2i.plan.specs import Spec
from kdx2i.plan.suite_catalogue import Catalogue, TransferFacts

SpecType = TypeVar("SpecType", bound=Spec)

OFFICIAL = "official"
"""The transfer of a run that is not trained here: a checkpoint that the authors published."""


class PlanBase:
    """A preset of the repository at `root`, seen with a catalogue of what the suite has.

    `preset` is a preset's name or the path of its YAML file; `seeds` replaces the preset's seeds.
    """

    def __init__(self, root: Path, preset: str, seeds: Sequence[int] | None, catalogue: Catalogue) -> None:
        self.root = root.resolve()
        self.catalogue = catalogue
        self.preset: PresetConfig = load_preset(self.root, preset)
        self.preset_argument = preset
        self.seeds: tuple[int, ...] = tuple(seeds) if seeds else tuple(self.preset.seeds)
        if len(set(self.seeds)) < len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise UserError(f"seeds must be different whole numbers from 0 on, not {listed(self.seeds)}")
        self.register: ProtocolRegister = load_protocol(self.root)
        self.choices: dict[str, str] = self.register.choices(self.preset)
        where = f"preset {self.preset.name}, transfers"
        self.transfers: Mapping[str, TransferFacts] = catalogue.transfers(
            validate(catalogue.readings, self.preset.transfers, where)
        )
        self.results = Path("results") / self.preset.name
        self._leaves: dict[str, Leaf[Any]] = {}
        self._datasets: dict[str, DatasetConfig] = {}
        self._others: dict[str, PlanBase] = {}
        self._parts: dict[str, list[tuple[TableConfig, PartConfig]]] = {}

    def other(self, preset: str) -> "PlanBase":
        """Return what planners ask of another preset of the same repository."""
        if preset == self.preset_argument:
            return self
        if preset not in self._others:
            self._others[preset] = PlanBase(self.root, preset, None, self.catalogue)
        return self._others[preset]

    def leaf_of(
        self,
        kind: Kind,
        address: Address,
        spec: SpecType,
        *,
        inputs: Mapping[str, Leaf[Any]] | None = None,
        files: Mapping[str, str] | None = None,
        modules: tuple[str, ...] = (),
        variant: str = "",
    ) -> Leaf[SpecType]:
        """Make a leaf, or return the equal one that was made before (so that hashes are computed once)."""
        leaf = Leaf(
            self.root, self.results, kind, dict(address), spec, inputs or {}, dict(files or {}), modules, variant
        )
        before = self._leaves.setdefault(leaf.name, leaf)
        return before if before.spec == leaf.spec and before.files == leaf.files else leaf

    # -- names ---------------------------------------------------------------------------------------

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """The names of all tables, sorted."""
        return tuple(names_in(self.root / "benchmarks" / "tables"))

    @cached_property
    def table_configs(self) -> dict[str, TableConfig]:
        """The YAML files of all tables by name."""
        return {name: load_table(self.root, name) for name in self.tables}

    @cached_property
    def teachers(self) -> tuple[str, ...]:
        """The names of the teachers that can be trained, sorted."""
        return tuple(names_in(self.root / "benchmarks" / "teachers"))

    @cached_property
    def feature_networks(self) -> tuple[str, ...]:
        """The names of the feature networks that the suite trains and ships, sorted."""
        return tuple(names_in(self.root / "benchmarks" / "features"))

    def extractor_files(self) -> dict[str, str]:
        """Return the hash of the shipped feature network that evaluations use, by path; none for another extractor."""
        name = self.evaluation_settings["extractor"]
        if name not in self.feature_networks:
            return {}
        path = f"benchmarks/features/{name}.safetensors"
        return {path: file_hash(self.root / path)}

    @cached_property
    def paper(self) -> PresetConfig:
        """The preset `paper`, whose budgets are those of the paper."""
        return load_preset(self.root, "paper")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The actual names of the preset's datasets, sorted."""
        return tuple(sorted(set(self.preset.datasets.values())))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The actual resolutions of the preset in pixels, ascending."""
        return tuple(sorted(set(self.preset.resolutions.values())))

    def dataset(self, name: str) -> DatasetConfig:
        """Return what `benchmarks/datasets/<name>.yaml` says; `UserError` for an unknown name."""
        if name not in self._datasets:
            self._datasets[name] = load_dataset(self.root, name)
        return self._datasets[name]

    @cached_property
    def encoders(self) -> tuple[str, ...]:
        """The names of the encoders of conditions that can be trained, sorted."""
        return tuple(names_in(self.root / "benchmarks" / "encoders"))

    def encoder_of(self, dataset: str) -> str | None:
        """Return the encoder of a dataset's conditions: a file, or the recipe to train; None where none is named."""
        return self.preset.encoders.get(dataset)

    def missing_part(
        self, architecture: str, transfer: str, resolution: int | None = None, dataset: str | None = None
    ) -> str | None:
        """Return why a method cannot run under this preset (at a resolution or on a dataset of it), or None."""
        registered = self.catalogue.architectures.get(architecture)
        if registered is None:
            return f"architecture {architecture} is not implemented"
        if architecture not in self.preset.architectures:
            return f"preset {self.preset.name} has no settings for architecture {architecture}"
        if transfer not in self.transfers:
            return f"transfer {transfer} is not implemented"
        if transfer == OFFICIAL and dataset is not None and resolution is not None:
            return self._no_official(architecture, dataset, resolution)
        change, distillation = self.transfers[transfer], self.catalogue.tasks[registered.task].distillation
        if change.distils and distillation is None:
            return f"transfer {transfer} needs a stage 1, and the task {registered.task} has none"
        if change.distils and registered.student is None:
            return f"transfer {transfer} needs a student, and the architecture {architecture} has none"
        if change.only not in (None, distillation):
            return f"transfer {transfer} means nothing in the stage 1 of the task {registered.task}"
        if resolution is not None and registered.starts_from_teacher:
            try:
                self.teacher_of(architecture, resolution)
            except UserError as error:
                return str(error)
        if dataset is not None and registered.reads_encoder and self.encoder_of(dataset) is None:
            return (
                f"{architecture} reads conditions by an encoder, and preset {self.preset.name} names none for "
                f"{dataset} in `encoders`"
            )
        return None

    def _no_official(self, architecture: str, dataset: str, resolution: int) -> str | None:
        """Return why there is no published checkpoint for a dataset at a resolution, or None."""
        if self.preset.official.get(architecture, {}).get(dataset, {}).get(resolution) is not None:
            return None
        return (
            f"preset {self.preset.name} names no official weights of {architecture} for {dataset} at {resolution} px "
            "(key `official`)"
        )

    def official_file(self, architecture: str, dataset: str, resolution: int) -> str:
        """Return the published checkpoint of an architecture for a dataset, relative to the root; `UserError` else."""
        if (reason := self._no_official(architecture, dataset, resolution)) is not None:
            raise UserError(reason)
        return self.preset.official[architecture][dataset][resolution]

    # -- parts of a spec -----------------------------------------------------------------------------

    def protocol_switches(self, stage: str) -> dict[str, str]:
        """Return the choices that a stage's results depend on and that no other key of the spec holds."""
        return {
            entry.id: self.choices[entry.id]
            for entry in self.register.entries
            if stage in entry.affects and entry.key is not None and entry.key.startswith("protocol.")
        }

    def protocol_of(self, stage: str) -> dict[str, str]:
        """Return every choice that a stage's results depend on, for their provenance."""
        return {entry.id: self.choices[entry.id] for entry in self.register.entries if stage in entry.affects}

    @cached_property
    def evaluation_settings(self) -> dict[str, Any]:
        """The preset's evaluation settings, checked and completed with defaults, as JSON."""
        where = f"preset {self.preset.name}, evaluation"
        settings = validate(self.catalogue.evaluation, self.preset.evaluation, where)
        as_json: dict[str, Any] = settings.model_dump(mode="json")
        return as_json

    def settings(self, architecture: str, resolution: int) -> dict[str, Any]:
        """Return an architecture's `networks`, `distill` and `train` settings at an actual resolution."""
        config = self.preset.architectures[architecture]
        where = f"preset {self.preset.name}, architectures.{architecture}"
        return self.catalogue.settings(architecture, config, resolution, where)

    def teacher_of(self, architecture: str, resolution: int) -> tuple[str, str]:
        """Return an architecture's teacher at a resolution: its name, and its file or the teacher to train."""
        config = self.preset.architectures[architecture]
        name = config.at(resolution).teacher or config.teacher
        if name is None:
            raise UserError(f"preset {self.preset.name} names no teacher for architecture {architecture}")
        files = self.preset.teachers[name]
        if resolution not in files:
            raise UserError(f"teacher {name} has no weights at {resolution} px; it has them at {listed(files)}")
        return name, files[resolution]

    def shipped_file(self, architecture: str, transfer: str, resolution: int) -> str | None:
        """Return the shipped student of a transfer, relative to the root; None where it is distilled.

        One file serves every seed (protocol entry i2i-students).
        """
        by_transfer = self.preset.students.get(architecture, {})
        return by_transfer.get(transfer, {}).get(resolution)

    # -- what tables ask for -------------------------------------------------------------------------

    def parts_on(self, dataset: str) -> list[tuple[TableConfig, PartConfig]]:
        """Return the parts of tables that have a dataset among their columns."""
        if dataset not in self._parts:
            self._parts[dataset] = [
                (config, part)
                for config in self.table_configs.values()
                for part in config.parts
                if dataset in map(self.preset.datasets.get, config.datasets_of(part.name))
            ]
        return self._parts[dataset]

    def direction(self, dataset: str, mode: Mode) -> tuple[str, str] | None:
        """Return the dataset's names of a mode's source and target class."""
        if mode.direction is None:
            return None
        names = self.dataset(dataset).class_names
        source, target = mode.direction
        return names.get(source, source), names.get(target, target)

    # -- mistakes ------------------------------------------------------------------------------------

    def check_dataset(self, dataset: str) -> None:
        """Raise `UserError` for a dataset that the preset does not have."""
        if dataset not in self.datasets:
            known = listed(self.datasets)
            raise UserError(f"preset {self.preset.name} has no dataset `{dataset}`; it has {known}")

    def check_resolution(self, resolution: int) -> None:
        """Raise `UserError` for a resolution that the preset does not have."""
        if resolution not in self.resolutions:
            known = listed(self.resolutions)
            raise UserError(f"preset {self.preset.name} has no resolution {resolution}; it has {known}")

    def check_method(self, architecture: str, transfer: str, resolution: int) -> None:
        """Raise `UserError` for a method that cannot run under the preset."""
        self.check_resolution(resolution)
        reason = self.missing_part(architecture, transfer)
        if reason is None:
            return
        runnable = [name for name in self.preset.architectures if name in self.catalogue.architectures]
        if architecture not in runnable:
            raise UserError(f"{reason}; preset {self.preset.name} can run {listed(runnable)}")
        if transfer in self.transfers:
            raise UserError(reason)
        raise UserError(f"there is no transfer `{transfer}`; the transfers are {listed(self.transfers)}")
