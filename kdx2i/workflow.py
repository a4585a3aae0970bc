"""What the Snakefile asks: the inputs and identity of each rule's job.

Snakemake decides by time stamps and by its own records, and both are wrong in a clone, after `dvc pull`
or after a checkout. Here the results themselves decide: a result is current when the identity that it
carries is the one that the plan computes. So

- the inputs of a job whose result is current are `ancient`: their time stamps do not count;
- a job whose result is there but not current gets a marker among its inputs, a file that is newer than
  the result, and runs;
- a job whose result is missing runs because its outputs are missing.

The rules themselves follow from the table of kinds (`kdx2i.plan.kinds`).

The marker, and not the removal of the stale result, keeps a dry run without consequences.
"""

import difflib
import hashlib
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.io import ancient

from kdx2i.config import listed, names_in, parse_seeds
from kdx2i.config.study import FILE as STUDY_FILE
from kdx2i.config.study import load_study
from kdx2i.costs.limits import limits
from kdx2i.costs.sheet import read_costs
from kdx2i.devices import PARALLEL_STAGES
from kdx2i.errors import UserError
from kdx2i.files import write_text
from kdx2i.foreign import read_document
from kdx2i.identity import LARGE
from kdx2i.plan import KINDS, Kind, Leaf, Plan
from kdx2i.plan.kinds import CLAIMS, COMPARISON, FIELDS, FIGURE, NUMBER, REPORT, SPLIT, STAGE1, TABLE, USER_STUDY
from kdx2i.plan.leaf import upstream_of
from kdx2i.plan.teacher_plans import split_variant
from kdx2i.provenance import problem
from kdx2i.stages.claims import show as show_claims
from kdx2i.stages.compare import current_tables
from kdx2i.stages.ending import show as show_ending
from kdx2i.stages.stage1 import show as show_stage1

Wildcards = Any


SHOWN: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "table": {"{table}.csv": ("table", "Tables"), "{table}.svg": ("plot", "Tables")},
    "figure": {"{figure}.png": ("figure", "Figures")},
    "evaluation": {"samples.png": ("samples", "Sample grids")},
    "run": {"log.jsonl": ("losses", "Logs")},
    "distilled": {"log.jsonl": ("losses", "Logs")},
    "comparison": {"comparison.csv": ("comparison", "Comparison")},
    "report": {"report.html": ("report", "Report")},
    "user_study": {"user_study.html": ("user_study", "User study")},
}
"""What `snakemake --report` shows, by kind and output: its caption in `workflow/report`, and its category."""

CONFIG_KEYS = ("preset", "seeds", "targets")
"""The keys of the workflow's configuration: those of params.yaml."""


def made_of_large_files(root: Path, preset: str) -> bool:
    """Tell whether there are results of a preset, or splits of large files: what is current depends on these then."""
    if any((root / "results" / Path(preset).stem).rglob("*provenance.json")):
        return True
    for path in (root / "data").glob("*/provenance.json"):
        with suppress(UserError, KeyError, TypeError, OSError):  # A damaged one is made again.
            if any((root / name).stat().st_size >= LARGE for name in read_document(path)["files"]):
                return True
    return False


def check_config(keys: Iterable[Any]) -> None:
    """Refuse a key that the workflow does not know, of `--config` or of a file: it would silently change nothing."""
    for key in map(str, keys):
        if key not in CONFIG_KEYS:
            nearest = difflib.get_close_matches(key, CONFIG_KEYS, n=1)
            hint = f" (did you mean `{nearest[0]}`?)" if nearest else ""
            raise UserError(f"the configuration has no key `{key}`{hint}; its keys are {listed(CONFIG_KEYS)}")


def requested_seeds(value: Any) -> list[int] | None:
    """Return the seeds of the configuration: null, one number, a list, or text such as `0,1,2`."""
    if value is None:
        return None
    words = value if isinstance(value, list) else [value]
    return parse_seeds(",".join(str(word) for word in words))


class Results:
    """What the rules ask, by kind of result.

    `requested` returns the tables that were asked for; it is called when Snakemake builds its graph.
    """

    def __init__(self, plan: Plan, requested: Callable[[], Iterable[str]]) -> None:
        self.plan = plan
        self.requested = requested
        self._states: dict[str, bool] = {}
        self.costs = read_costs(plan.root, plan.preset.name)

    def leaf(self, kind: Kind, wildcards: Wildcards) -> Leaf[Any]:
        """Return the leaf that a job of a kind makes."""
        if kind is COMPARISON:
            return self.plan.comparison(self.compared())
        if kind is CLAIMS:
            return self.plan.claims(self.compared())
        if kind is REPORT:
            return self.plan.report(self.compared(), self.drawn(), stage1=self.measured())
        address = {name: getattr(wildcards, name) for name in kind.fields}
        return self.plan.leaf(kind.name, **{k: int(v) if FIELDS[k] == NUMBER else v for k, v in address.items()})

    # -- what the rules say about it -----------------------------------------------------------------

    def rules(self) -> list["RuleFacts"]:
        """Return the rules of the workflow: one for each kind, and one more for each variant of it."""
        rules = []
        for kind in KINDS.values():
            for variant in ("", *kind.variants):
                rules.append(RuleFacts(self, kind, variant))
        return rules

    def names(self, kind: Kind, variant: str) -> list[str] | None:
        """Return which names the last field of a kind's address may have in a rule; None where any may."""
        if kind is TABLE:
            return [name for name in self.plan.tables if self.plan.rendered(name).variant == variant]
        if kind is SPLIT:
            # Asked of the YAML files alone: planning a split may take the checksum of a large archive.
            every = names_in(self.plan.root / "benchmarks" / "datasets")
            return [name for name in every if split_variant(self.plan.dataset(name)) == variant]
        return self.figures() if kind is FIGURE else None

    def marker(self, leaf: Leaf[Any]) -> str | None:
        """Return a file newer than a result that is there but not current, or None.

        Its content differs each time: Snakemake compares the checksums of small inputs too.
        """
        self._leave_the_future(leaf)
        if not leaf.provenance_path.is_file() or self.is_current(leaf):
            return None
        name = hashlib.sha256(leaf.name.encode()).hexdigest()[:16]
        path = self.plan.results / ".work" / "stale" / name
        place = self.plan.root / path
        write_text(place, f"{leaf.name} is not what {leaf.identity} says ({time.time_ns()})\n")
        newest = max((p.stat().st_mtime for path in leaf.paths if (p := self.plan.root / path).is_file()), default=0.0)
        if newest >= place.stat().st_mtime:
            os.utime(place, (newest + 1, newest + 1))
        return path.as_posix()

    def _leave_the_future(self, leaf: Leaf[Any]) -> None:
        """Give files of a leaf, and of what it is made from, that a clock dated after now the time of now.

        Snakemake takes a job for failed, and deletes what it made, where an input is newer than that.
        """
        now = time.time()
        for place in (self.plan.root / path for one in (leaf, *leaf.inputs.values()) for path in one.paths):
            try:
                if place.stat().st_mtime > now:
                    os.utime(place, (now, now))
            except OSError:  # It is not there, or not ours to date.
                continue

    def is_current(self, leaf: Leaf[Any]) -> bool:
        """Tell whether a result is there with the identity that is planned (asked once in a process)."""
        if leaf.name not in self._states:
            self._states[leaf.name] = problem(leaf, checksums=False) is None
        return self._states[leaf.name]

    # -- targets -------------------------------------------------------------------------------------

    def files_behind(self, tables: Iterable[str]) -> list[str]:
        """Return every file of tables and of all that they are made from: a missing one is always noticed."""
        return _paths(upstream_of([self.plan.rendered(name) for name in tables]))

    def figures(self) -> list[str]:
        """Return the names of the figures that the preset can draw."""
        return [name for name, figure in self.plan.figures.items() if figure.leaf is not None]

    def files_behind_figure(self, name: str) -> list[str]:
        """Return every file of a figure and of all that it is drawn from."""
        return _paths(self.plan.figure(name).upstream())

    def splits(self) -> list[str]:
        """Return the files of the preset's splits."""
        return _paths(self.plan.split(dataset) for dataset in self.plan.datasets)

    def teachers(self) -> list[str]:
        """Return the files of the teachers that are trained on embedded data, and of all that they are made from."""
        leaves = [self.plan.teacher(name) for name in self.plan.teachers]
        embedded = [leaf for leaf in leaves if self.plan.dataset(leaf.spec.dataset).source.kind == "embedded"]
        return _paths(upstream_of(embedded))

    def students(self) -> list[str]:
        """Return the files of the students that are made to be shipped, and of all that they are made from."""
        names = names_in(self.plan.root / "benchmarks" / "students")
        return _paths(upstream_of([self.plan.student(name) for name in names]))

    def feature_networks(self) -> list[str]:
        """Return the files of the feature networks that the suite trains, of all their seeds."""
        features, plan = self.plan.catalogue.features, self.plan
        leaves = [plan.features(name, s) for name in plan.feature_networks for s in features(plan.root, name).seeds]
        return _paths(upstream_of(leaves))

    def encoders(self) -> list[str]:
        """Return the files of the encoders of conditions that the suite trains, and of all that they are made from."""
        return _paths(upstream_of([self.plan.encoder(name) for name in self.plan.encoders]))

    def compared(self) -> list[str]:
        """Return the tables that a comparison, or claims, cover: those requested and those that are current already."""
        asked = set(self.requested())
        return [name for name in self.plan.tables if name in asked or self.is_current(self.plan.rendered(name))]

    def losses_of(self, outputs: Sequence[str]) -> Path | None:
        """Return the file that a job's training logs its losses to while it runs; None where it trains nothing."""
        provenance = next((Path(path) for path in outputs if path.endswith("provenance.json")), None)
        if provenance is None or not any(path.endswith("log.jsonl") for path in outputs):
            return None
        try:
            return self.plan.leaf_at(provenance).work / "log.jsonl"
        except UserError:
            return None

    def needed_tables(self) -> list[str]:
        """Return the tables that were asked for, and that of the user study where it was.

        Raise `UserError` where claims or a report are asked for and no table is, or is there, to judge them by, and
        where the preset lacks rows of the user study.
        """
        asked = set(self.requested())
        if {CLAIMS.name, REPORT.name} & asked and not self.compared():
            current_tables(self.plan)
        if USER_STUDY.name in asked:
            study = load_study(self.plan.root)
            cells = [cell for cell in self.plan.table(study.table).cells if cell.leaves]
            there = {cell.row.label for cell in cells if (cell.part, cell.dataset) == (study.part, study.dataset)}
            absent = [label for label in (study.ours, *study.others) if label not in there]
            if absent:
                raise UserError(
                    f"{STUDY_FILE} shows rows of {study.table} ({study.part}) on {study.dataset}, where preset "
                    f"{self.plan.preset.name} does not run {listed(absent)}: name another preset, or change the file"
                )
            asked.add(study.table)
        return [name for name in self.plan.tables if name in asked]

    def drawn(self) -> list[str]:
        """Return the figures that a report shows: those requested and those that are current already."""
        asked = set(self.requested())
        every = "figures" in asked
        return [n for n in self.figures() if every or n in asked or self.is_current(self.plan.figure(n))]

    def measured(self) -> bool:
        """Tell whether a report shows the measures of stage 1: they were requested, or are current already."""
        leaf = self.plan.stage1_if_any()
        return leaf is not None and (STAGE1.name in set(self.requested()) or self.is_current(leaf))

    def print_tables(self) -> None:
        """Print what was asked for: tables with what is said of them, the measures of stage 1, claims."""
        asked = set(self.requested())
        if STAGE1.name in asked:
            show_stage1(self.plan)
        names = [name for name in self.plan.tables if name in asked]
        if names:
            show_ending(self.plan, names)
        if CLAIMS.name in asked:
            show_claims(self.plan, self.compared())
        if REPORT.name in asked:
            print(f"The report: {self.plan.results}/report.html")
        if USER_STUDY.name in asked:
            print(f"For the subjects: {self.plan.results}/user_study.html; the key beside it stays here.")
            preset = (
                "" if self.plan.preset_argument == "open" else f" --preset {shlex.quote(self.plan.preset_argument)}"
            )
            print(f"Then `kdx2i study answers/*.json{preset}` analyses what they saved (docs/user-study.md).")


@dataclass(frozen=True)
class RuleFacts:
    """What the rule of one kind (and variant) says to Snakemake."""

    results: Results
    kind: Kind
    variant: str

    @property
    def name(self) -> str:
        """The rule's name: the command's or the kind's own, after the variant."""
        name = self.kind.rule or self.kind.command
        return f"{self.variant}_{name}" if self.variant else name

    @property
    def wildcards(self) -> dict[str, str]:
        """The values of each wildcard, as a regular expression."""
        values = {name: FIELDS[name] for name in self.kind.fields}
        names = self.results.names(self.kind, self.variant)
        if names is not None:
            values[self.kind.fields[-1]] = "|".join(names) or "(?!)"
        return values

    @property
    def outputs(self) -> list[str]:
        """The paths of the outputs and of the provenance, with wildcards."""
        wildcards = {name: f"{{{name}}}" for name in self.kind.fields}
        folder = self.kind.folder(self.results.plan.results, wildcards)
        names = (*self.kind.files(wildcards, self.variant), self.kind.provenance)
        return [(folder / name).as_posix() for name in names]

    def shown(self, output: str) -> tuple[str, str, dict[str, str]] | None:
        """Return caption, category and labels of an output in Snakemake's own report, None where that leaves it out."""
        found = SHOWN.get(self.kind.name, {}).get(output.rpartition("/")[2])
        if found is None:
            return None
        labels = {name: f"{{{name}}}" for name in self.kind.fields} or {"file": output.rpartition("/")[2]}
        return *found, labels

    @property
    def log(self) -> str:
        """The path of the job's log, with wildcards."""
        parts = [f"{{{name}}}" for name in self.kind.fields] or [self.kind.command]
        return "/".join([self.results.plan.results.as_posix(), "logs", self.kind.command, *parts]) + ".log"

    @property
    def resources(self) -> dict[str, int]:
        """What a job asks of the machine: the preset's threads and GPUs for a training, one core for the rest.

        What shares no batch among processes takes one GPU, whatever the preset gives.
        """
        asked = self.results.plan.preset.resources
        if self.kind.work != "training":
            return {"cpu": 1}
        most = asked.gpus if self.kind.stage in PARALLEL_STAGES else 1
        return {"cpu": asked.threads, "gpu": min(asked.gpus, most)}

    def minutes(self, wildcards: Wildcards) -> int:
        """Return the run time that a job asks a cluster for, in minutes, from the costs of its preset."""
        return self._limits(wildcards)[0]

    def megabytes(self, wildcards: Wildcards) -> int:
        """Return the memory that a job asks a cluster for, in MB, from the costs of its preset."""
        return self._limits(wildcards)[1]

    def _limits(self, wildcards: Wildcards) -> tuple[int, int]:
        leaf, plan = self.results.leaf(self.kind, wildcards), self.results.plan
        return limits(leaf, self.results.costs, plan.preset.seeds[0])

    @property
    def message(self) -> str:
        """What a job says of itself: the kind's message, its fields being wildcards."""
        text = self.kind.message.replace("{preset}", self.results.plan.preset_argument)
        text = text.replace("{tables}", "{params.tables}")
        return re.sub(r"\{(\w+)\}", r"{wildcards.\1}", text)

    def tables(self, wildcards: Wildcards) -> list[str]:
        """Return the tables that a comparison, claims or a report cover; none for other kinds."""
        return self.results.compared() if self.kind in (COMPARISON, CLAIMS, REPORT) else []

    def inputs(self, wildcards: Wildcards) -> dict[str, Any]:
        """Return the files that a job reads, by role, and the marker where its result is not current."""
        leaf = self.results.leaf(self.kind, wildcards)
        marker = self.results.marker(leaf)
        roles = {role: _paths(leaves) for role, leaves in _by_role(leaf).items()}
        if marker is None:
            return {role: [ancient(path) for path in paths] for role, paths in roles.items()}
        return {**roles, "stale": marker}

    def identity(self, wildcards: Wildcards) -> str:
        """Return the identity of a job's result."""
        return self.results.leaf(self.kind, wildcards).identity

    def words(self, wildcards: Wildcards) -> list[str]:
        """Return the command line of a job after the program's name."""
        return self.results.plan.command(self.results.leaf(self.kind, wildcards))[1:]


def _paths(leaves: Iterable[Leaf[Any]]) -> list[str]:
    """Return the paths of the files of leaves, relative to the root."""
    return [path.as_posix() for leaf in leaves for path in leaf.paths]


def _by_role(leaf: Leaf[Any]) -> Mapping[str, list[Leaf[Any]]]:
    """Return a leaf's inputs by role; what gathers results has them all in one."""
    if leaf.kind in (COMPARISON, CLAIMS):
        return {"tables": list(leaf.inputs.values())}
    if leaf.kind.gathers:
        # Everything down to the splits: a table refuses what is stale at any depth.
        return {"results": [upstream for upstream in leaf.upstream() if upstream is not leaf]}
    return {role: [upstream] for role, upstream in leaf.inputs.items()}
