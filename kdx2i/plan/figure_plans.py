"""What a figure is made of: the runs or students that it shows, and the images that they are asked for."""

from dataclasses import dataclass
from typing import Any

from kdx2i.config.figures import STAGE_1, FigureConfig, FigureMethod
from kdx2i.errors import UserError
from kdx2i.plan.kinds import FIGURE
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.plan_base import PlanBase
from kdx2i.plan.specs import DrawnMethod, FigureSpec
from kdx2i.plan.student_plans import plan_measures
from kdx2i.plan.teacher_plans import plan_split
from kdx2i.plan.training_plans import plan_run


@dataclass(frozen=True)
class FigurePlan:
    """The leaf of a figure, or the reason why the preset has none; `left_out` are methods that are not drawn."""

    config: FigureConfig
    leaf: Leaf[FigureSpec] | None
    reason: str | None
    left_out: dict[str, str]


def plan_figure(plan: PlanBase, config: FigureConfig) -> FigurePlan:
    """Derive a figure's leaf from its YAML and the preset; methods that cannot run are left out."""
    dataset = None if config.dataset is None else plan.preset.datasets.get(config.dataset)
    if config.dataset is not None and dataset is None:
        return FigurePlan(config, None, f"preset {plan.preset.name} has no dataset for {config.dataset}", {})
    inputs: dict[str, Leaf[Any]] = {} if dataset is None else {"split": plan_split(plan, dataset)}
    drawn: list[DrawnMethod] = []
    left_out: dict[str, str] = {}
    modules: set[str] = set()
    for method in config.methods:
        resolution = plan.preset.resolutions.get(method.resolution)
        reason = _missing(plan, config, method, resolution)
        if reason is not None or resolution is None:
            left_out[method.label] = reason or f"preset {plan.preset.name} has no resolution for {method.resolution} px"
            continue
        role = f"method{len(drawn)}"
        address = (method.architecture, method.transfer, resolution, plan.seeds[0])
        shown: Leaf[Any] = plan_measures(plan, *address) if dataset is None else plan_run(plan, dataset, *address)
        inputs[role] = shown
        modules.update(shown.modules)
        drawn.append(DrawnMethod(label=method.label, input=role, resolution=resolution))
    if not drawn:
        return FigurePlan(config, None, "; ".join(left_out.values()), left_out)
    spec = FigureSpec(
        figure=config,
        methods=drawn,
        left_out=left_out,
        dataset=dataset,
        seed=plan.seeds[0],
    )
    leaf = plan.leaf_of(FIGURE, {"figure": config.name}, spec, inputs=inputs, modules=tuple(sorted(modules)))
    return FigurePlan(config, leaf, None, left_out)


def _missing(plan: PlanBase, config: FigureConfig, method: FigureMethod, resolution: int | None) -> str | None:
    """Return why a method is not in a figure, or None."""
    dataset = None if config.dataset is None else plan.preset.datasets.get(config.dataset)
    reason = plan.missing_part(method.architecture, method.transfer, resolution, dataset)
    if reason is not None:
        return reason
    registered = plan.catalogue.architectures[method.architecture]
    if config.kind in STAGE_1:
        own = plan.catalogue.tasks[registered.task].distillation
        if own != ("x2i" if config.kind == "pairs" else "i2i"):
            return f"stage 1 of the task {registered.task} is not shown as {config.kind}"
    elif config.guidance not in registered.modes:
        return f"{method.architecture} has no mode {config.guidance}"
    elif dataset is not None and plan.dataset(dataset).task != registered.task:
        return f"{method.architecture} is made for the task {registered.task}, and {dataset} is one of another task"
    return None


def required(figure: FigurePlan) -> Leaf[FigureSpec]:
    """Return a figure's leaf; `UserError` with the reason where the preset has none."""
    if figure.leaf is None:
        raise UserError(f"{figure.config.name} cannot be drawn: {figure.reason}")
    return figure.leaf
