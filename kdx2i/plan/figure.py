"""What a figure is made of: the runs or students that it shows, and the images that they are asked for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdx2i.config.figures import FigureConfig, FigureMethod
from kdx2i.errors import UserError
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.registry import method_module, modes, student_module

if TYPE_CHECKING:
    from kdx2i.plan.core import Plan


@dataclass(frozen=True)
class FigurePlan:
    """The leaf of a figure, or the reason why the preset has none; `left_out` are methods that are not drawn."""

    config: FigureConfig
    leaf: Leaf | None
    reason: str | None
    left_out: dict[str, str]


def plan_figure(plan: "Plan", config: FigureConfig) -> FigurePlan:
    """Derive a figure's leaf from its YAML and the preset; methods that cannot run are left out."""
    dataset = None if config.dataset is None else plan.preset.datasets.get(config.dataset)
    if config.dataset is not None and dataset is None:
        return FigurePlan(config, None, f"preset {plan.preset.name} has no dataset for {config.dataset}", {})
    inputs: dict[str, Leaf] = {} if dataset is None else {"split": plan.split(dataset)}
    drawn: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    code = {"kdx2i.stages.figure"}
    for method in config.methods:
        resolution = plan.preset.resolutions.get(method.resolution)
        reason = _missing(plan, config, method, resolution)
        if reason is not None or resolution is None:
            left_out[method.label] = reason or f"preset {plan.preset.name} has no resolution for {method.resolution} px"
            continue
        role = f"method{len(drawn)}"
        address = (method.architecture, method.transfer, resolution, plan.seeds[0])
        inputs[role] = plan.distilled(*address) if dataset is None else plan.run(dataset, *address)
        code.add((student_module if dataset is None else method_module)(method.architecture))
        drawn.append({"label": method.label, "input": role, "resolution": resolution})
    if not drawn:
        return FigurePlan(config, None, "; ".join(left_out.values()), left_out)
    spec = {
        "figure": config.model_dump(mode="json", exclude={"methods"}),
        "methods": drawn,
        "left_out": left_out,
        "dataset": dataset,
        "seed": plan.seeds[0],
        "protocol": {},
    }
    leaf = Leaf(
        plan.root,
        plan.results,
        "figure",
        plan.results / "figures",
        (f"{config.name}.png", f"{config.name}.json"),
        spec,
        tuple(sorted(code)),
        inputs,
        {},
        f"{config.name}.provenance.json",
    )
    return FigurePlan(config, leaf, None, left_out)


def _missing(plan: "Plan", config: FigureConfig, method: FigureMethod, resolution: int | None) -> str | None:
    """Return why a method is not in a figure, or None."""
    reason = plan.missing_part(method.architecture, method.transfer, resolution)
    if reason is None and config.kind != "students" and config.guidance not in modes(method.architecture):
        reason = f"{method.architecture} has no mode {config.guidance}"
    return reason


def required(figure: FigurePlan) -> Leaf:
    """Return a figure's leaf; `UserError` with the reason where the preset has none."""
    if figure.leaf is None:
        raise UserError(f"{figure.config.name} cannot be drawn: {figure.reason}")
    return figure.leaf
