"""The conditions of a preset's numbers, and all that they have otherwise than the preset `paper`."""

from collections.abc import Iterator, Mapping
from typing import Any

from kdx2i.plan import Plan
from kdx2i.plan.student_plans import shipped_student
from kdx2i.tables.model import Context, Departure

PAPER_PRESET = "paper"
# Counted as the budget, or without any effect on a number.
_NOT_PROTOCOL = ("iterations", "batch", "batch_size", "log_every", "sample_every")
_EVALUATION_ELSEWHERE = ("extractor", "batch", "batch_size", "weights", "input_size")


def context(plan: Plan) -> Context:
    """Return the conditions that a plan's numbers are made under."""
    preset, settings = plan.preset, plan.evaluation_settings
    return Context(
        preset=preset.name,
        title=preset.title,
        datasets=dict(preset.datasets),
        resolutions=dict(preset.resolutions),
        seeds=plan.seeds,
        extractor=str(settings["extractor"]),
        preprocessing=str(settings["preprocessing"]),
        protocol=dict(plan.choices),
        departures=departures(plan),
    )


def departures(plan: Plan) -> tuple[Departure, ...]:
    """Return where a plan's protocol, evaluation, networks and training are not those of the preset `paper`.

    What the paper really did is not known where it does not say so; `paper` is the nearest reading.
    Datasets, resolutions, extractor and budgets are compared cell by cell, not here.
    """
    if plan.preset.name == PAPER_PRESET:
        return ()
    reference = plan.for_preset(PAPER_PRESET)
    keys_of = {entry.id: entry.key for entry in plan.register.entries}
    differences = [
        Departure(kind="protocol", text=f"protocol {name}: {choice} instead of {reference.choices[name]}")
        for name, choice in sorted(plan.choices.items())
        if choice != reference.choices[name] and _is_protocol(keys_of[name])
    ]
    covered = set(keys_of.values())
    keys = _differing(plan.evaluation_settings, reference.evaluation_settings)
    for key in keys:
        if key not in _EVALUATION_ELSEWHERE and f"evaluation.{key}" not in covered:
            differences.append(Departure(kind="protocol", text=f"evaluation.{key} is not that of the paper's preset"))
    differences.extend(_methods(plan, reference))
    return tuple(differences)


def _is_protocol(key: str | None) -> bool:
    """Whether the key of an entry is compared here, and not with the extractor or an architecture."""
    return (
        key is not None and key.startswith(("protocol.", "evaluation.", "transfers.")) and key != "evaluation.extractor"
    )


def _methods(plan: Plan, reference: Plan) -> Iterator[Departure]:
    """Yield one departure for each architecture whose networks or training are set otherwise."""
    preset, paper = plan.preset, reference.preset
    for architecture in sorted(set(preset.architectures) & set(paper.architectures)):
        keys: set[str] = set()
        for resolution, actual in sorted(preset.resolutions.items()):
            own = plan.settings(architecture, actual) | _shipped_stage1(plan, architecture, actual)
            papers = reference.settings(architecture, paper.resolutions.get(resolution, resolution))
            for stage in ("networks", "distill", "train"):
                differing = _differing(own[stage], papers[stage])
                keys |= {f"{stage}.{key}" for key in differing if key not in _NOT_PROTOCOL}
        if keys:
            text = f"{architecture} is set otherwise than in the paper's preset ({', '.join(sorted(keys))})"
            yield Departure(kind="protocol", text=text, architecture=architecture)


def _shipped_stage1(plan: Plan, architecture: str, resolution: int) -> dict[str, Any]:
    """Return the settings of stage 1 that a preset's shipped student was made with; nothing where it has none."""
    for transfer in plan.preset.students.get(architecture, {}):
        shipped = shipped_student(plan, architecture, transfer, resolution)
        if shipped is not None:
            return {"distill": shipped.spec.distill}
    return {}


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the keys, sorted, under which two mappings of JSON values are not equal."""
    return sorted(key for key in {**first, **second} if first.get(key) != second.get(key))
