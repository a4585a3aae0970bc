"""What the Snakefile asks: the inputs and identity of each rule's job.

Snakemake decides by time stamps and by its own records, and both are wrong in a clone, after `dvc pull`
or after a checkout. Here the results themselves decide: a result is current when the identity that it
carries is the one that the plan computes. So

- the inputs of a job whose result is current are `ancient`: their time stamps do not count;
- a job whose result is there but not current gets a marker among its inputs, a file that is newer than
  the result, and runs;
- a job whose result is missing runs because its outputs are missing.

The marker, and not the removal of the stale result, keeps a dry run without consequences.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from snakemake.io import ancient

from kdx2i.config import parse_seeds
from kdx2i.files import write_text
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import problem
from kdx2i.stages.table import show

Wildcards = Any
Inputs = Callable[[Wildcards], dict[str, Any]]


def requested_seeds(value: Any) -> list[int] | None:
    """Return the seeds of the configuration: null, one number, a list, or text such as `0,1,2`."""
    if value is None:
        return None
    words = value if isinstance(value, list) else [value]
    return parse_seeds(",".join(str(word) for word in words))


class Results:
    """Input functions and parameters of the rules, by kind of result."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._states: dict[str, bool] = {}

    # -- which leaf a job makes ----------------------------------------------------------------------

    def split(self, wildcards: Wildcards) -> Leaf:
        """Return the split of a job of the rule `split`."""
        return self.plan.split(wildcards.dataset)

    def distilled(self, wildcards: Wildcards) -> Leaf:
        """Return the student of a job of the rule `distill`."""
        return self.plan.distilled(*_method(wildcards))

    def run(self, wildcards: Wildcards) -> Leaf:
        """Return the run of a job of the rule `train`."""
        return self.plan.run(wildcards.dataset, *_method(wildcards))

    def evaluation(self, wildcards: Wildcards) -> Leaf:
        """Return the evaluation of a job of the rule `evaluate`."""
        return self.plan.evaluation(wildcards.dataset, *_method(wildcards), wildcards.mode)

    def controls(self, wildcards: Wildcards) -> Leaf:
        """Return the control values of a job of the rule `controls`."""
        return self.plan.controls(wildcards.dataset, int(wildcards.resolution))

    def classifier(self, wildcards: Wildcards) -> Leaf:
        """Return the classifier of a job of the rule `classifier`."""
        return self.plan.classifier(wildcards.dataset, int(wildcards.resolution))

    def segmenter(self, wildcards: Wildcards) -> Leaf:
        """Return the segmenter of a job of the rule `segmenter`."""
        return self.plan.segmenter(wildcards.dataset, int(wildcards.resolution))

    def table(self, wildcards: Wildcards) -> Leaf:
        """Return the table of a job of the rule `table`."""
        return self.plan.rendered(wildcards.table)

    def figure(self, wildcards: Wildcards) -> Leaf:
        """Return the figure of a job of the rule `figure`."""
        return self.plan.figure(wildcards.figure)

    # -- what the rules say about it -----------------------------------------------------------------

    def inputs(self, leaf_of: Callable[[Wildcards], Leaf]) -> Inputs:
        """Return the input function of a rule: files by the role that they play, and the marker."""

        def named_inputs(wildcards: Wildcards) -> dict[str, Any]:
            leaf = leaf_of(wildcards)
            marker = self.marker(leaf)
            roles = {role: _role_files(inputs) for role, inputs in _by_role(leaf).items()}
            if marker is None:
                return {role: [ancient(path) for path in paths] for role, paths in roles.items()}
            return {**roles, "stale": marker}

        return named_inputs

    def identity(self, leaf_of: Callable[[Wildcards], Leaf]) -> Callable[[Wildcards], str]:
        """Return the function that gives a job's identity as a parameter."""

        def identity_of(wildcards: Wildcards) -> str:
            return leaf_of(wildcards).identity

        return identity_of

    def marker(self, leaf: Leaf) -> str | None:
        """Return a file newer than a result that is there but not current, or None.

        Its content differs each time: Snakemake compares the checksums of small inputs too.
        """
        if not leaf.provenance_path.is_file() or self.is_current(leaf):
            return None
        name = hashlib.sha256(leaf.name.encode()).hexdigest()[:16]
        path = self.plan.results / ".work" / "stale" / name
        place = self.plan.root / path
        write_text(place, f"{leaf.name} is not what {leaf.identity} says ({time.time_ns()})\n")
        newest = max((p.stat().st_mtime for p in _files(leaf) if p.is_file()), default=0.0)
        if newest >= place.stat().st_mtime:
            os.utime(place, (newest + 1, newest + 1))
        return path.as_posix()

    def is_current(self, leaf: Leaf) -> bool:
        """Tell whether a result is there with the identity that is planned (asked once in a process)."""
        if leaf.name not in self._states:
            self._states[leaf.name] = problem(leaf, checksums=False) is None
        return self._states[leaf.name]

    def tables(self, *, drawn: bool) -> list[str]:
        """Return the names of the tables that are drawn as bars too, or of the others."""
        return [name for name in self.plan.tables if self.plan.table(name).config.plot == drawn]

    # -- targets -------------------------------------------------------------------------------------

    def files_behind(self, tables: Iterable[str]) -> list[str]:
        """Return every file of tables and of all that they are made from: a missing one is always noticed."""
        leaves = {leaf.name: leaf for name in tables for leaf in self.plan.rendered(name).upstream()}
        return [path for leaf in leaves.values() for path in leaf_files(leaf)]

    def figures(self) -> list[str]:
        """Return the names of the figures that the preset can draw."""
        return [name for name, figure in self.plan.figures.items() if figure.leaf is not None]

    def files_behind_figure(self, name: str) -> list[str]:
        """Return every file of a figure and of all that it is drawn from."""
        return [path for leaf in self.plan.figure(name).upstream() for path in leaf_files(leaf)]

    def splits(self) -> list[str]:
        """Return the files of the preset's splits."""
        return [path for dataset in self.plan.datasets for path in leaf_files(self.plan.split(dataset))]

    def compared(self, requested: Iterable[str]) -> list[str]:
        """Return the tables that a comparison covers: those requested and those that are current already."""
        asked = set(requested)
        return [name for name in self.plan.tables if name in asked or self.is_current(self.plan.rendered(name))]

    def print_tables(self, requested: Iterable[str]) -> None:
        """Print the requested tables that have been made."""
        names = [name for name in self.plan.tables if name in set(requested)]
        for name in names:
            show(self.plan, name)
        if names:
            options = f" --preset {self.plan.preset_argument}" if self.plan.preset_argument != "open" else ""
            print(
                f"\n{self.plan.results}/tables has these as CSV, Markdown and LaTeX; `kdx2i compare{options}` "
                "prints the verdicts on every cell"
            )


def leaf_files(leaf: Leaf) -> list[str]:
    """Return the paths of a leaf's files relative to the root, the provenance last."""
    return [(leaf.directory / name).as_posix() for name in (*leaf.outputs, leaf.provenance)]


def _files(leaf: Leaf) -> list[Path]:
    return [leaf.folder / name for name in (*leaf.outputs, leaf.provenance)]


def _by_role(leaf: Leaf) -> Mapping[str, list[Leaf]]:
    """Return a leaf's inputs by role; tables and comparisons have many in one role."""
    if leaf.kind in ("table", "comparison", "figure"):
        # Everything down to the splits: a table refuses what is stale at any depth.
        upstream = [other for other in leaf.upstream() if other is not leaf]
        return {"results": upstream} if leaf.kind != "comparison" else {"tables": list(leaf.inputs.values())}
    return {role: [upstream] for role, upstream in leaf.inputs.items()}


def _role_files(leaves: Iterable[Leaf]) -> list[str]:
    return [path for leaf in leaves for path in leaf_files(leaf)]


def _method(wildcards: Wildcards) -> tuple[str, str, int, int]:
    return wildcards.architecture, wildcards.transfer, int(wildcards.resolution), int(wildcards.seed)
