"""From a path in the results to the leaf that the plan wants there, and to the command that makes it."""

from pathlib import Path
from typing import Any

from kdx2i.errors import UserError
from kdx2i.plan.core import Plan
from kdx2i.plan.leaf import Leaf

SUFFIX = ".provenance.json"


def leaf_at(plan: Plan, provenance: Path) -> Leaf:
    """Return the leaf whose provenance file stands at `provenance` (relative to the root).

    A path that is no leaf's address, or whose names the preset does not have, raises `UserError`.
    """
    parts = provenance.parts
    if parts[:1] == ("data",) and len(parts) == 3:
        return plan.split(parts[1])
    inside = provenance.relative_to(plan.results).parts if provenance.is_relative_to(plan.results) else ()
    match inside:
        case ("distilled", architecture, transfer, size, seed, "provenance.json"):
            return plan.distilled(architecture, transfer, _number(size, "r"), _number(seed, "s"))
        case ("runs", dataset, architecture, transfer, size, seed, "provenance.json"):
            return plan.run(dataset, architecture, transfer, _number(size, "r"), _number(seed, "s"))
        case ("runs", dataset, architecture, transfer, size, seed, mode, "provenance.json"):
            method = (dataset, architecture, transfer, _number(size, "r"), _number(seed, "s"))
            return plan.evaluation(*method, mode)
        case ("controls", dataset, size, "provenance.json"):
            return plan.controls(dataset, _number(size, "r"))
        case ("classifiers", dataset, size, "provenance.json"):
            return plan.classifier(dataset, _number(size, "r"))
        case ("segmenters", dataset, size, "provenance.json"):
            return plan.segmenter(dataset, _number(size, "r"))
        case ("tables", name) if name.endswith(SUFFIX):
            return plan.rendered(name.removesuffix(SUFFIX))
        case ("figures", name) if name.endswith(SUFFIX):
            return plan.figure(name.removesuffix(SUFFIX))
        case ("comparison.provenance.json",):
            return plan.comparison()
    raise UserError(f"{provenance} is not the address of a result of preset {plan.preset.name}")


def _number(text: str, letter: str) -> int:
    digits = text.removeprefix(letter)
    if not text.startswith(letter) or not digits.isdecimal():
        raise UserError(f"`{text}` is not an address: it should be {letter} and a number")
    return int(digits)


COMMANDS = {
    "split": "split",
    "distilled": "distill",
    "run": "train",
    "evaluation": "evaluate",
    "controls": "controls",
    "classifier": "classifier",
    "segmenter": "segmenter",
    "table": "table",
    "figure": "figure",
    "comparison": "compare",
}
_OPTIONS = ("dataset", "architecture", "transfer", "resolution", "seed", "mode")


def command(plan: Plan, leaf: Leaf) -> list[str]:
    """Return the command line, as words, that makes a leaf (after what it is made from)."""
    words = ["kdx2i", COMMANDS[leaf.kind], "--preset", plan.preset_argument]
    spec: dict[str, Any] = dict(leaf.spec)
    if leaf.kind == "split":
        return [*words, "--dataset", leaf.directory.name]
    if leaf.kind == "figure":
        return [*words, "--seeds", str(spec["seed"]), spec["figure"]["name"]]
    if leaf.kind in ("table", "comparison"):
        names = [spec["table"]["name"]] if leaf.kind == "table" else spec["tables"]
        seeds = ",".join(str(seed) for seed in plan.seeds)
        return [*words, "--seeds", seeds, *names]
    if leaf.kind in ("controls", "classifier", "segmenter"):
        spec.pop("seed", None)
    for option in _OPTIONS:
        if option in spec:
            words += [f"--{option}", str(spec[option])]
    return words
