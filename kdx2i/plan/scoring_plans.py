"""Plans of what is scored: evaluations, control values, and the networks that score with the real images."""

from typing import Any

from kdx2i.config.models import listed
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import Need
from kdx2i.plan.encoder_plans import read_encoder
from kdx2i.plan.kinds import CLASSIFIER, CONTROLS, EVALUATION, SEGMENTER, Address
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.metric_choice import computed_by, evaluation_metrics, idle_switches, modules_of, needs
from kdx2i.plan.mode import Mode
from kdx2i.plan.plan_base import PlanBase
from kdx2i.plan.specs import ClassifierSpec, ControlsSpec, EvaluationSpec, MethodSpec, SegmenterSpec
from kdx2i.plan.teacher_plans import plan_split
from kdx2i.plan.training_plans import plan_run

ENCODER_MODULE = "kdx2i.encoders.matching"
"""What opens an encoder of conditions; only what a metric asks one for depends on it."""
CLASSIFIER_KEYS = ("extractor", "preprocessing", "input_size", "classifier", "seed")


def plan_evaluation(
    plan: PlanBase, dataset: str, architecture: str, transfer: str, resolution: int, seed: int, mode: str
) -> Leaf[EvaluationSpec]:
    """Return the evaluation of a run in one mode: `<guidance>` or `<guidance>-<source>2<target>`.

    What is costly (RC, FC, LPIPS) is computed where a table asks for it on this dataset.
    """
    asked = Mode.parse(mode)
    run = plan_run(plan, dataset, architecture, transfer, resolution, seed)
    registered = plan.catalogue.architectures[architecture]
    if asked.guidance not in registered.modes:
        raise UserError(f"{architecture} has no mode `{mode}`; its modes are {listed(registered.modes)}")
    directed = asked.direction is not None
    metrics = _metrics_of(plan, dataset, directed=directed)
    spec = EvaluationSpec(
        **run.spec.model_dump(include=set(MethodSpec.model_fields) - {"protocol"} | {"task", "dataset"}),
        mode=mode,
        guidance=asked.guidance,
        direction=plan.direction(dataset, asked),
        metrics=computed_by(metrics),
        evaluation=_evaluation_of(plan, dataset, every_class=not directed, directed=directed),
        encoder_file=run.spec.encoder_file if needs(metrics, Need.ENCODER) else None,
        protocol=plan.protocol_switches("evaluate"),
    )
    # What the run starts from, too: its untrained method is scored beside it.
    inputs: dict[str, Leaf[Any]] = {"run": run, **run.inputs}
    if needs(metrics, Need.CLASSIFIER):
        inputs["classifier"] = plan_classifier(plan, dataset, resolution)
    if needs(metrics, Need.LABEL_MAPS):
        inputs["segmenter"] = plan_segmenter(plan, dataset, resolution)
    modules = (*run.modules, plan.catalogue.tasks[run.spec.task].scoring, *_modules_of(metrics))
    address: Address = {**run.address, "mode": mode}
    files = {**run.files, **plan.extractor_files()}
    return plan.leaf_of(EVALUATION, address, spec, inputs=inputs, files=files, modules=modules)


def plan_controls(plan: PlanBase, dataset: str, resolution: int) -> Leaf[ControlsSpec]:
    """Return the control values of a dataset: what its task's control images score.

    They stand for all classes together, and for each direction that a table asks for.
    """
    plan.check_dataset(dataset)
    plan.check_resolution(resolution)
    directions = _directions(plan, dataset)
    inputs: dict[str, Leaf[Any]] = {"split": plan_split(plan, dataset)}
    metrics = _metrics_of(plan, dataset, directed=False)
    directed_metrics = _metrics_of(plan, dataset, directed=True) if directions else []
    if needs(metrics, Need.CLASSIFIER):
        inputs["classifier"] = plan_classifier(plan, dataset, resolution)
    if needs(metrics, Need.LABEL_MAPS):
        inputs["segmenter"] = plan_segmenter(plan, dataset, resolution)
    task = plan.catalogue.tasks[plan.dataset(dataset).task]
    files = plan.extractor_files()
    encoder = read_encoder(plan, dataset, inputs, files) if needs(metrics, Need.ENCODER) else None
    spec = ControlsSpec(
        task=task.name,
        dataset=dataset,
        resolution=resolution,
        directions=directions,
        metrics=computed_by(metrics),
        directed_metrics=computed_by(directed_metrics),
        evaluation=_evaluation_of(plan, dataset, every_class=True, directed=bool(directions)),
        encoder_file=encoder,
        protocol=plan.protocol_switches("evaluate"),
    )
    address: Address = {"dataset": dataset, "resolution": resolution}
    modules = (task.module, task.scoring, *_modules_of([*metrics, *directed_metrics]))
    return plan.leaf_of(CONTROLS, address, spec, inputs=inputs, files=files, modules=modules)


def plan_classifier(plan: PlanBase, dataset: str, resolution: int) -> Leaf[ClassifierSpec]:
    """Return the classifier of RC, trained once on the real images of a dataset."""
    plan.check_dataset(dataset)
    plan.check_resolution(resolution)
    task = plan.catalogue.tasks[plan.dataset(dataset).task]
    spec = ClassifierSpec(
        task=task.name,
        dataset=dataset,
        resolution=resolution,
        evaluation={key: plan.evaluation_settings[key] for key in CLASSIFIER_KEYS},
        protocol=plan.protocol_switches("evaluate"),
    )
    inputs = {"split": plan_split(plan, dataset)}
    address: Address = {"dataset": dataset, "resolution": resolution}
    modules = (task.module, task.scoring)
    return plan.leaf_of(CLASSIFIER, address, spec, inputs=inputs, files=plan.extractor_files(), modules=modules)


def plan_segmenter(plan: PlanBase, dataset: str, resolution: int) -> Leaf[SegmenterSpec]:
    """Return the segmenter of mIoU, trained once on the real label maps of any dataset that has some."""
    plan.check_resolution(resolution)
    spec = SegmenterSpec(
        dataset=dataset,
        resolution=resolution,
        segmenter=plan.catalogue.segmenter().model_dump(mode="json"),
        seed=plan.evaluation_settings["seed"],
        protocol=plan.protocol_switches("evaluate"),
    )
    inputs = {"split": plan_split(plan, dataset)}
    return plan.leaf_of(SEGMENTER, {"dataset": dataset, "resolution": resolution}, spec, inputs=inputs)


def _modules_of(metrics: list[str]) -> tuple[str, ...]:
    """Return the modules that compute metrics, and what opens the encoder where one asks for it."""
    return (*modules_of(metrics), *((ENCODER_MODULE,) if needs(metrics, Need.ENCODER) else ()))


def _evaluation_of(plan: PlanBase, dataset: str, *, every_class: bool, directed: bool) -> dict[str, Any]:
    """Return the evaluation settings that count for a dataset: no change of another one makes a result stale.

    What switches a metric on counts where that is computed, each number of images where translations are asked
    that way.
    """
    tasks = plan.catalogue.tasks
    own = tasks[plan.dataset(dataset).task].image_counts
    unused = {key for task in tasks.values() for key in task.image_counts} - own
    unused |= set() if every_class else {"images_per_class"}
    unused |= set() if directed else {"images_per_direction"}
    counting = {key: value for key, value in plan.evaluation_settings.items() if key not in unused}
    idle = idle_switches(_metrics_of(plan, dataset, directed=not every_class))
    return {key: None if value and key in idle else value for key, value in counting.items()}


def _metrics_of(plan: PlanBase, dataset: str, *, directed: bool) -> list[str]:
    """Return the metrics of the evaluations of a dataset, of all classes or of one direction."""
    asked = [config.metrics_of(part.name) for config, part in plan.parts_on(dataset)]
    names = {name for metrics in asked for name in metrics} if asked else None
    allowed = plan.catalogue.tasks[plan.dataset(dataset).task].metrics
    return evaluation_metrics(allowed, names, plan.evaluation_settings, directed=directed)


def _directions(plan: PlanBase, dataset: str) -> dict[str, tuple[str, str]]:
    """Return source and target class of each direction that a table asks for, by its paper's name."""
    directions = {}
    for _, part in plan.parts_on(dataset):
        mode = Mode.parse(part.mode)
        classes = plan.direction(dataset, mode)
        if mode.direction is not None and classes is not None:
            directions["2".join(mode.direction)] = classes
    return dict(sorted(directions.items()))
