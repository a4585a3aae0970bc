"""Plans of runs (stage 2)."""

from typing import Any

from kdx2i.errors import UserError
from kdx2i.identity import file_hash
from kdx2i.plan.encoder_plans import read_encoder
from kdx2i.plan.kinds import RUN, Address
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.plan_base import OFFICIAL, PlanBase
from kdx2i.plan.specs import RunSpec
from kdx2i.plan.student_plans import plan_distilled
from kdx2i.plan.teacher_plans import plan_split, read_teacher


def plan_run(
    plan: PlanBase, dataset: str, architecture: str, transfer: str, resolution: int, seed: int
) -> Leaf[RunSpec]:
    """Return the run of a method on a dataset: stage 2, from a shipped or distilled student unless `scratch`.

    An architecture that is made from a teacher's own networks starts from its file; `official` takes a published
    checkpoint over, with no training. The encoder that the preset names
    for the dataset's conditions is among the files or inputs of the run.
    """
    plan.check_dataset(dataset)
    plan.check_method(architecture, transfer, resolution)
    settings, change = plan.settings(architecture, resolution), plan.transfers[transfer]
    registered = plan.catalogue.architectures[architecture]
    task = plan.dataset(dataset).task
    if task != registered.task:
        raise UserError(f"{architecture} is made for the task {registered.task}, and {dataset} is a dataset of {task}")
    if (reason := plan.missing_part(architecture, transfer, None, dataset)) is not None:
        raise UserError(reason)
    inputs: dict[str, Leaf[Any]] = {"split": plan_split(plan, dataset)}
    files: dict[str, str] = {}
    student_file, discriminator_file = None, None
    if change.distils:
        student = (architecture, change.student or transfer, resolution, seed)
        student_file = _start(plan, student, "distilled", inputs, files)
        if change.discriminator in plan.transfers:
            judge = (architecture, change.discriminator, resolution, seed)
            discriminator_file = _start(plan, judge, "discriminator", inputs, files)
    teacher, teacher_file = None, None
    modules: tuple[str, ...] = (registered.method_module, plan.catalogue.tasks[task].module)
    if transfer == OFFICIAL:
        modules += _take_over(plan, architecture, dataset, resolution, files)
    elif registered.starts_from_teacher:
        teacher, source = plan.teacher_of(architecture, resolution)
        teacher_file = read_teacher(plan, source, inputs, files)
    spec = RunSpec(
        architecture=architecture,
        transfer=transfer,
        resolution=resolution,
        seed=seed,
        networks=settings["networks"],
        task=task,
        dataset=dataset,
        transfer_settings=change.changes(),
        train=settings["train"],
        student_file=student_file,
        discriminator_file=discriminator_file,
        teacher=teacher,
        teacher_file=teacher_file,
        encoder_file=read_encoder(plan, dataset, inputs, files),
        protocol=plan.protocol_switches("train"),
    )
    address: Address = {
        "dataset": dataset,
        "architecture": architecture,
        "transfer": transfer,
        "resolution": resolution,
        "seed": seed,
    }
    return plan.leaf_of(RUN, address, spec, inputs=inputs, files=files, modules=modules)


def _take_over(
    plan: PlanBase, architecture: str, dataset: str, resolution: int, files: dict[str, str]
) -> tuple[str, ...]:
    """Put a published checkpoint among the files of a run, and return the modules that take it over."""
    published = plan.official_file(architecture, dataset, resolution)
    files[published] = file_hash(plan.root / published)
    return "kdx2i.stages.official_run", f"kdx2i.methods.{architecture}.official"


def _start(
    plan: PlanBase,
    student: tuple[str, str, int, int],
    role: str,
    inputs: dict[str, Leaf[Any]],
    files: dict[str, str],
) -> str | None:
    """Put a student among the files of a run, and return its path, where it is shipped; else among its inputs."""
    architecture, transfer, resolution, _ = student
    shipped = plan.shipped_file(architecture, transfer, resolution)
    if shipped is None:
        inputs[role] = plan_distilled(plan, *student)
    else:
        files[shipped] = file_hash(plan.root / shipped)
    return shipped
