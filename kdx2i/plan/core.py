"""The plan: which results a preset has, where they lie and what each is made from.

Everything is derived from the YAML files of `benchmarks/`; nothing here imports torch or runs a job.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdx2i.config import (
    PartConfig,
    PresetConfig,
    ProtocolRegister,
    TableConfig,
    load_dataset,
    load_figure,
    load_preset,
    load_protocol,
    load_table,
    names_in,
)
from kdx2i.config.models import listed
from kdx2i.errors import UserError
from kdx2i.identity import file_hash
from kdx2i.plan.figure import FigurePlan, plan_figure, required
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.mode import Mode
from kdx2i.plan.registry import (
    checked_evaluation,
    implemented,
    method_module,
    modes,
    resolved_settings,
    segmenter_settings,
    starts_from_teacher,
    student_module,
    transfers,
)
from kdx2i.plan.table import TablePlan, plan_table

CLASSIFIER_KEYS = ("extractor", "preprocessing", "input_size", "classifier", "seed")
RENDERINGS = ("csv", "md", "tex", "json")
PLOTS = ("svg", "png")


class Plan:
    """The leaves of one preset in the repository at `root`.

    `preset` is a preset's name or the path of its YAML file; `seeds` replaces the preset's seeds.
    Each method returns the one leaf of that address; a name that the preset or the suite does not know
    raises `UserError` with the known ones.
    """

    def __init__(self, root: Path, preset: str, seeds: Sequence[int] | None = None) -> None:
        self.root = root.resolve()
        self.preset: PresetConfig = load_preset(self.root, preset)
        self.preset_argument = preset
        self.seeds: tuple[int, ...] = tuple(seeds) if seeds else tuple(self.preset.seeds)
        if len(set(self.seeds)) < len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise UserError(f"seeds must be different whole numbers from 0 on, not {listed(self.seeds)}")
        self.register: ProtocolRegister = load_protocol(self.root)
        self.choices: dict[str, str] = self.register.choices(self.preset)
        self.results = Path("results") / self.preset.name
        self._leaves: dict[str, Leaf] = {}
        self._tables: dict[str, TablePlan] = {}
        self._parts: dict[str, list[tuple[TableConfig, PartConfig]]] = {}

    # -- names ---------------------------------------------------------------------------------------

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """The names of all tables, sorted."""
        return tuple(names_in(self.root / "benchmarks" / "tables"))

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

    def missing_part(self, architecture: str, transfer: str, resolution: int | None = None) -> str | None:
        """Return why a method cannot run under this preset (at a resolution of it), or None when it can."""
        if not implemented(architecture):
            return f"architecture {architecture} is not implemented"
        if architecture not in self.preset.architectures:
            return f"preset {self.preset.name} has no settings for architecture {architecture}"
        if transfer not in transfers():
            return f"transfer {transfer} is not implemented"
        if resolution is not None and starts_from_teacher(architecture):
            try:
                self._teacher(architecture, resolution)
            except UserError as error:
                return str(error)
        return None

    # -- leaves --------------------------------------------------------------------------------------

    def split(self, dataset: str) -> Leaf:
        """Return the split of a dataset, which all presets share."""
        planned = self._leaves.get(f"data/{dataset}")
        if planned is not None:
            return planned
        known = names_in(self.root / "benchmarks" / "datasets")
        if dataset not in known:
            raise UserError(f"there is no dataset `{dataset}`; the datasets are {listed(known)}")
        config = load_dataset(self.root, dataset)
        spec = config.model_dump(mode="json", exclude={"title", "stands_for", "licence", "class_names"})
        files = {
            file.path or file.url or name: file.sha256 or file_hash(self.root / (file.path or name))
            for name, file in config.source.files.items()
        }
        directory = Path("data") / dataset
        return self._leaf("split", directory, ("split.csv",), spec, ("kdx2i.stages.split",), files=files)

    def distilled(self, architecture: str, transfer: str, resolution: int, seed: int) -> Leaf:
        """Return the student that stage 1 distils from the preset's teacher.

        Some transfers start from the student of another one, and `scratch` has no stage 1: for these there
        is nothing to distil, which raises `UserError`.
        """
        self._check_method(architecture, transfer, resolution)
        settings, change = self.settings(architecture, resolution), transfers()[transfer]
        if not change["distils"]:
            raise UserError(f"the transfer `{transfer}` has no stage 1, so there is nothing to distil")
        if change["student"] is not None:
            raise UserError(f"the transfer `{transfer}` starts from the student of `{change['student']}`")
        teacher, path = self._teacher(architecture, resolution)
        spec = {
            "architecture": architecture,
            "transfer": transfer,
            "transfer_settings": change,
            "resolution": resolution,
            "seed": seed,
            "teacher": teacher,
            "teacher_file": path,
            "networks": settings["networks"],
            "distill": settings["distill"],
            "protocol": self._protocol("distill"),
        }
        return self._leaf(
            "distilled",
            self.results / "distilled" / architecture / transfer / f"r{resolution}" / f"s{seed}",
            ("student.safetensors", "log.jsonl", "samples.png"),
            spec,
            ("kdx2i.stages.distill", student_module(architecture)),
            files={path: file_hash(self.root / path)},
        )

    def run(self, dataset: str, architecture: str, transfer: str, resolution: int, seed: int) -> Leaf:
        """Return the run of a method on a dataset: stage 2, from a distilled student unless `scratch`.

        An architecture that is made from a teacher's own networks starts from its file.
        """
        self._check_dataset(dataset)
        self._check_method(architecture, transfer, resolution)
        settings, change = self.settings(architecture, resolution), transfers()[transfer]
        inputs = {"split": self.split(dataset)}
        if change["distils"]:
            student = change["student"] or transfer
            inputs["distilled"] = self.distilled(architecture, student, resolution, seed)
        spec = {
            "dataset": dataset,
            "architecture": architecture,
            "transfer": transfer,
            "transfer_settings": change,
            "resolution": resolution,
            "seed": seed,
            "networks": settings["networks"],
            "train": settings["train"],
            "protocol": self._protocol("train"),
        }
        files = {}
        if starts_from_teacher(architecture):
            spec["teacher"], path = self._teacher(architecture, resolution)
            spec["teacher_file"] = path
            files[path] = file_hash(self.root / path)
        method = Path(dataset) / architecture / transfer / f"r{resolution}" / f"s{seed}"
        return self._leaf(
            "run",
            self.results / "runs" / method,
            ("networks.safetensors", "log.jsonl", "samples.png"),
            spec,
            ("kdx2i.stages.train", method_module(architecture)),
            inputs=inputs,
            files=files,
        )

    def evaluation(self, dataset: str, architecture: str, transfer: str, resolution: int, seed: int, mode: str) -> Leaf:
        """Return the evaluation of a run in one mode: `<guidance>` or `<guidance>-<source>2<target>`.

        RC, FC and LPIPS are costly: they are computed where a table asks for them on this dataset.
        """
        asked = Mode.parse(mode)
        if asked.guidance not in modes(architecture):
            raise UserError(f"{architecture} has no mode `{mode}`; its modes are {listed(modes(architecture))}")
        run = self.run(dataset, architecture, transfer, resolution, seed)
        keys = ("dataset", "architecture", "transfer", "resolution", "seed", "networks")
        spec = {key: run.spec[key] for key in keys} | {
            "mode": mode,
            "guidance": asked.guidance,
            "direction": self._direction(dataset, asked),
            "evaluation": self._evaluation_of(
                dataset, every_class=asked.direction is None, directed=asked.direction is not None
            ),
            "protocol": self._protocol("evaluate"),
        }
        inputs = {"run": run, "split": run.inputs["split"]}
        if asked.direction is None and self._asks_for(dataset, "RC", "FC"):
            inputs["classifier"] = self.classifier(dataset, resolution)
        return self._leaf(
            "evaluation",
            run.directory / mode,
            ("metrics.json", "samples.png"),
            spec,
            ("kdx2i.stages.evaluate", method_module(architecture)),
            inputs=inputs,
        )

    def controls(self, dataset: str, resolution: int) -> Leaf:
        """Return the control values of a dataset: real against real, the input copied, noise.

        They stand for all classes together, and for each direction that a table asks for.
        """
        self._check_dataset(dataset)
        self._check_resolution(resolution)
        inputs = {"split": self.split(dataset)}
        directions = self._directions(dataset)
        if self._asks_for(dataset, "RC", "FC"):
            inputs["classifier"] = self.classifier(dataset, resolution)
        return self._leaf(
            "controls",
            self.results / "controls" / dataset / f"r{resolution}",
            ("metrics.json",),
            {
                "dataset": dataset,
                "resolution": resolution,
                "directions": directions,
                "evaluation": self._evaluation_of(dataset, every_class=True, directed=bool(directions)),
                "protocol": self._protocol("evaluate"),
            },
            ("kdx2i.stages.controls",),
            inputs=inputs,
        )

    def classifier(self, dataset: str, resolution: int) -> Leaf:
        """Return the classifier of RC, trained once on the real images of a dataset."""
        self._check_dataset(dataset)
        self._check_resolution(resolution)
        return self._leaf(
            "classifier",
            self.results / "classifiers" / dataset / f"r{resolution}",
            ("classifier.safetensors",),
            {
                "dataset": dataset,
                "resolution": resolution,
                "evaluation": {key: self.evaluation_settings[key] for key in CLASSIFIER_KEYS},
                "protocol": self._protocol("evaluate"),
            },
            ("kdx2i.stages.classifier",),
            inputs={"split": self.split(dataset)},
        )

    def segmenter(self, dataset: str, resolution: int) -> Leaf:
        """Return the segmenter of mIoU, trained once on the real label maps of any dataset that has some."""
        self._check_resolution(resolution)
        return self._leaf(
            "segmenter",
            self.results / "segmenters" / dataset / f"r{resolution}",
            ("segmenter.safetensors", "metrics.json", "samples.png"),
            {
                "dataset": dataset,
                "resolution": resolution,
                "segmenter": segmenter_settings(),
                "seed": self.evaluation_settings["seed"],
                "protocol": self._protocol("evaluate"),
            },
            ("kdx2i.stages.segmenter",),
            inputs={"split": self.split(dataset)},
        )

    def table(self, name: str) -> TablePlan:
        """Return what a table is made of: cells with their leaves, or with the reason that they have none."""
        if name not in self.tables:
            raise UserError(f"there is no table `{name}`; the tables are {listed(self.tables)}")
        if name not in self._tables:
            self._tables[name] = plan_table(self, self._table_configs[name])
        return self._tables[name]

    def rendered(self, name: str) -> Leaf:
        """Return the leaf of a table's files: `results/<preset>/tables/<name>.{csv,md,tex,json}`."""
        table = self.table(name)
        # What a table says of the distance to the paper's setting follows from these files.
        described = (f"benchmarks/published/{name}.csv", "benchmarks/presets/paper.yaml", "benchmarks/protocol.yaml")
        return self._leaf(
            "table",
            self.results / "tables",
            tuple(f"{name}.{kind}" for kind in (*RENDERINGS, *(PLOTS if table.config.plot else ()))),
            {
                "table": table.config.model_dump(mode="json"),
                "cells": table.summary(),
                "preset": {"name": self.preset.name, "title": self.preset.title},
                "datasets": dict(self.preset.datasets),
                "resolutions": {str(paper): here for paper, here in self.preset.resolutions.items()},
                "seeds": list(self.seeds),
                "budget": [line.as_dict() for line in table.budget],
                "evaluation": self.evaluation_settings,
                "protocol": self.choices,
            },
            ("kdx2i.stages.table",),
            inputs={leaf.name: leaf for leaf in table.leaves},
            files={path: file_hash(self.root / path) for path in described},
            provenance=f"{name}.provenance.json",
        )

    @cached_property
    def figures(self) -> dict[str, FigurePlan]:
        """The qualitative figures by name."""
        names = names_in(self.root / "benchmarks" / "figures")
        return {name: plan_figure(self, load_figure(self.root, name)) for name in names}

    def figure(self, name: str) -> Leaf:
        """Return the leaf of a qualitative figure; `UserError` where the preset cannot draw it."""
        if name not in self.figures:
            raise UserError(f"there is no figure `{name}`; the figures are {listed(self.figures)}")
        return required(self.figures[name])

    def comparison(self, tables: Iterable[str] | None = None) -> Leaf:
        """Return the comparison of tables (default: all) with the published numbers."""
        names = sorted(self.tables if tables is None else tables)
        return self._leaf(
            "comparison",
            self.results,
            ("comparison.csv", "comparison.json", "metrics.json"),
            {"tables": names, "preset": self.preset.name, "seeds": list(self.seeds)},
            ("kdx2i.stages.compare",),
            inputs={name: self.rendered(name) for name in names},
            provenance="comparison.provenance.json",
        )

    # -- parts of a spec -----------------------------------------------------------------------------

    def _leaf(
        self,
        kind: str,
        directory: Path,
        outputs: tuple[str, ...],
        spec: Mapping[str, Any],
        code: tuple[str, ...],
        *,
        inputs: Mapping[str, Leaf] | None = None,
        files: Mapping[str, str] | None = None,
        provenance: str = "provenance.json",
    ) -> Leaf:
        """Make a leaf, or return the equal one that was made before (so that hashes are computed once)."""
        leaf = Leaf(
            self.root,
            self.results,
            kind,
            directory,
            outputs,
            spec,
            code,
            inputs or {},
            files or {},
            provenance,
        )
        before = self._leaves.setdefault(leaf.name, leaf)
        return before if before.spec == leaf.spec and dict(before.files) == dict(leaf.files) else leaf

    def _protocol(self, stage: str) -> dict[str, str]:
        """Return the choices that a stage's results depend on and that no other key of the spec holds."""
        return {
            entry.id: self.choices[entry.id]
            for entry in self.register.entries
            if stage in entry.affects and entry.key is not None and entry.key.startswith("protocol.")
        }

    @cached_property
    def _table_configs(self) -> dict[str, TableConfig]:
        return {name: load_table(self.root, name) for name in self.tables}

    def _parts_on(self, dataset: str) -> list[tuple[TableConfig, PartConfig]]:
        """Return the parts of tables that have a dataset among their columns."""
        if dataset not in self._parts:
            self._parts[dataset] = [
                (config, part)
                for config in self._table_configs.values()
                for part in config.parts
                if dataset in map(self.preset.datasets.get, config.datasets_of(part.name))
            ]
        return self._parts[dataset]

    def _asks_for(self, dataset: str, *metrics: str) -> bool:
        """Tell whether a table asks for one of these metrics on a dataset; where no table has it, all are computed."""
        asked = [set(config.metrics_of(part.name)) for config, part in self._parts_on(dataset)]
        return not asked or any(found & set(metrics) for found in asked)

    def _evaluation_of(self, dataset: str, *, every_class: bool, directed: bool) -> dict[str, Any]:
        """Return the evaluation settings that count for a dataset: no change of another one makes a result stale.

        Diversity counts where a table asks for LPIPS, each number of images where translations are asked that way.
        """
        unused = set() if every_class else {"images_per_class"}
        if not directed:
            unused.add("images_per_direction")
        found = {key: value for key, value in self.evaluation_settings.items() if key not in unused}
        return found if every_class and self._asks_for(dataset, "LPIPS") else {**found, "diversity": None}

    def _directions(self, dataset: str) -> dict[str, list[str]]:
        """Return source and target class of each direction that a table asks for, by its paper's name."""
        found = {}
        for _, part in self._parts_on(dataset):
            mode = Mode.parse(part.mode)
            classes = self._direction(dataset, mode)
            if mode.direction is not None and classes is not None:
                found["2".join(mode.direction)] = classes
        return dict(sorted(found.items()))

    def _direction(self, dataset: str, mode: Mode) -> list[str] | None:
        """Return the dataset's names of a mode's source and target class."""
        if mode.direction is None:
            return None
        names = load_dataset(self.root, dataset).class_names
        return [names.get(name, name) for name in mode.direction]

    def protocol_of(self, stage: str) -> dict[str, str]:
        """Return every choice that a stage's results depend on, for their provenance."""
        return {e.id: self.choices[e.id] for e in self.register.entries if stage in e.affects}

    @cached_property
    def evaluation_settings(self) -> dict[str, Any]:
        """The preset's evaluation settings, checked and completed with defaults, as JSON."""
        return checked_evaluation(self.preset.evaluation, f"preset {self.preset.name}, evaluation")

    def settings(self, architecture: str, resolution: int) -> dict[str, Any]:
        """Return an architecture's `networks`, `distill` and `train` settings at an actual resolution."""
        config = self.preset.architectures[architecture]
        where = f"preset {self.preset.name}, architectures.{architecture}"
        return resolved_settings(architecture, config, resolution, where)

    def _teacher(self, architecture: str, resolution: int) -> tuple[str, str]:
        """Return the name and the weight file of an architecture's teacher at a resolution."""
        config = self.preset.architectures[architecture]
        name = config.at(resolution).teacher or config.teacher
        if name is None:
            raise UserError(f"preset {self.preset.name} names no teacher for architecture {architecture}")
        files = self.preset.teachers[name]
        if resolution not in files:
            raise UserError(f"teacher {name} has no weights at {resolution} px; it has them at {listed(files)}")
        return name, files[resolution]

    # -- mistakes ------------------------------------------------------------------------------------

    def _check_dataset(self, dataset: str) -> None:
        if dataset not in self.datasets:
            known = listed(self.datasets)
            raise UserError(f"preset {self.preset.name} has no dataset `{dataset}`; it has {known}")

    def _check_resolution(self, resolution: int) -> None:
        if resolution not in self.resolutions:
            known = listed(self.resolutions)
            raise UserError(f"preset {self.preset.name} has no resolution {resolution}; it has {known}")

    def _check_method(self, architecture: str, transfer: str, resolution: int) -> None:
        self._check_resolution(resolution)
        reason = self.missing_part(architecture, transfer)
        if reason is None:
            return
        if architecture not in self.preset.architectures or not implemented(architecture):
            known = listed(name for name in self.preset.architectures if implemented(name))
            raise UserError(f"{reason}; preset {self.preset.name} can run {known}")
        raise UserError(f"there is no transfer `{transfer}`; the transfers are {listed(transfers())}")
