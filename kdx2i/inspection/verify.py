"""Check what is on disk: every result's identity is computed again, every output's checksum compared."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.identity import file_hash
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import CLAIMS, COMPARISON, REPORT, SPLIT, STAGE1, TABLE, USER_STUDY
from kdx2i.provenance import Problem, mixture, problem, require_as_shipped, stated_by
from kdx2i.stages import split


@dataclass(frozen=True)
class Finding:
    """One result on disk, or one that a table on disk needs, and what is wrong with it (None: nothing)."""

    provenance: Path
    leaf: Leaf[Any] | None
    problem: Problem | None

    def as_json(self) -> dict[str, Any]:
        """Return the result's place, its identity as planned, and what is wrong with it, as JSON."""
        wrong = None if self.problem is None else {"kind": self.problem.kind, "sentence": self.problem.sentence}
        identity = None if self.leaf is None else self.leaf.identity
        return {"provenance": self.provenance.as_posix(), "identity": identity, "problem": wrong}


def verify(plan: Plan, tables: Iterable[str] = ()) -> list[Finding]:
    """Check every result of the preset and all that the tables on disk are made of.

    `tables` adds tables that must be there with all that they need.
    """
    findings: dict[str, Finding] = {}
    needed = [leaf for name in tables for leaf in plan.rendered(name).upstream()]
    for path in provenance_files(plan):
        leaf, mistake = planned(plan, path)
        if leaf is None or mistake is not None:
            findings[path.as_posix()] = Finding(path, leaf, mistake)
        else:
            # What a table or an evaluation on disk was made from must be there too.
            needed.extend(leaf.upstream())
    for leaf in needed:
        path = leaf.provenance_path.relative_to(plan.root)
        if path.as_posix() not in findings:
            findings[path.as_posix()] = Finding(path, leaf, whole_problem(leaf))
    return [findings[key] for key in sorted(findings)]


def whole_problem(leaf: Leaf[Any]) -> Problem | None:
    """Return what is wrong with a result (None: nothing), down to the images and conditions of a split."""
    fault = problem(leaf)
    if fault is None and leaf.kind is SPLIT:
        try:
            split.check(leaf)
        except UserError as error:
            return Problem("corrupt", f"{leaf.name} is corrupt: {error}")
    return fault


def shipped_problem(plan: Plan) -> str | None:
    """Return the sentence on a shipped teacher, feature network or encoder of the preset that is damaged, or None."""
    sources = [path for files in plan.preset.teachers.values() for path in files.values()]
    sources += plan.preset.encoders.values()
    shipped = {path: file_hash(plan.root / path) for path in sources if (plan.root / path).is_file()}
    try:
        require_as_shipped(plan.root, shipped | plan.extractor_files())
    except UserError as error:
        return str(error)
    return None


def doubts(plan: Plan, findings: Iterable[Finding]) -> list[str]:
    """Return sentences on results that are current, but whose last digits may be others than those of a new run.

    Tables of several kinds of machine, and results of another number of threads than the preset asks for: sums are
    split by thread, and no identity holds it.
    """
    current = [finding.leaf for finding in findings if finding.leaf is not None and finding.problem is None]
    told = [sentence for leaf in current if leaf.kind is TABLE and (sentence := mixture(leaf)) is not None]
    asked, others = plan.preset.resources.threads, []
    for leaf in current:
        threads = stated_by(leaf).get("threads", asked) if leaf.kind.work == "training" else asked
        if threads != asked:
            others.append(leaf.name)
    if others:
        told.append(
            f"{len(others)} results, such as {others[0]}, were made with another number of threads than the {asked} "
            f"that preset {plan.preset.name} asks for"
        )
    return told


def provenance_files(plan: Plan) -> Iterator[Path]:
    """Yield the provenance files of the preset's results and of the splits, relative to the root."""
    for folder, pattern in ((plan.root / "data", "*/provenance.json"), (plan.root / plan.results, "**/*")):
        for path in sorted(folder.glob(pattern)):
            relative = path.relative_to(plan.root)
            is_provenance = path.name == "provenance.json" or path.name.endswith(".provenance.json")
            if is_provenance and ".work" not in relative.parts:
                yield relative


def planned(plan: Plan, path: Path) -> tuple[Leaf[Any] | None, Problem | None]:
    """Return what the plan wants at a path; tables are planned with the seeds that they were made with."""
    try:
        leaf = plan.leaf_at(path)
        if leaf.kind not in (TABLE, STAGE1, COMPARISON, CLAIMS, REPORT, USER_STUDY):
            return leaf, None
        spec = read_document(plan.root / path).get("spec", {})
        seeded = plan.for_preset(plan.preset_argument, [int(seed) for seed in spec.get("seeds", plan.seeds)])
        if leaf.kind in (COMPARISON, CLAIMS):
            gathered = seeded.comparison if leaf.kind is COMPARISON else seeded.claims
            return gathered(str(name) for name in spec.get("tables", [])), None
        if leaf.kind is REPORT:
            return seeded.report(map(str, spec.get("tables", [])), spec.get("figures", []), stage1=spec["stage1"]), None
        return seeded.leaf_at(path), None
    except UserError as error:
        return None, Problem("stale", f"{path} does not belong to the preset any more: {error}")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None, Problem("corrupt", f"{path} is corrupt: it does not hold a provenance")
