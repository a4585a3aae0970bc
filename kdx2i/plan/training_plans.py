"""Plans of what is trained: splits, teachers, distilled students, runs."""

from typing import Any

from kdx2i.config import DatasetConfig, listed
from kdx2i.errors import UserError
from kdx2i.identity import file_hash
from kdx2i.plan.kinds import DISTILLED, FEATURES, RUN, SPLIT, TEACHER, Address
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.plan_base import PlanBase
from kdx2i.plan.specs import DistillSpec, FeaturesSpec, RunSpec, SplitSpec, TeacherSpec


def plan_split(plan: PlanBase, dataset: str) -> Leaf[SplitSpec]:
    """Return the split of a dataset, which all presets share."""
    config = plan.dataset(dataset)
    files = {
        file.path or file.url or name: file.sha256 or file_hash(plan.root / (file.path or name))
        for name, file in config.source.files.items()
    }
    spec = SplitSpec.model_validate(config.model_dump(mode="json", include=set(SplitSpec.model_fields)))
    return plan.leaf_of(SPLIT, {"dataset": dataset}, spec, files=files, variant=split_variant(config))


def split_variant(dataset: DatasetConfig) -> str:
    """Return which of the kind's further files a dataset's split has: the table of conditions, if it has some."""
    return "conditioned" if dataset.conditions else ""


def plan_teacher(plan: PlanBase, teacher: str) -> Leaf[TeacherSpec]:
    """Return a teacher that the suite trains: `benchmarks/teachers/<teacher>.yaml`.

    One that grows from a teacher of lower resolution has that one, or its shipped file, among its inputs.
    """
    config = plan.catalogue.teachers(plan.root, teacher)
    inputs: dict[str, Leaf[Any]] = {"split": plan_split(plan, config.dataset)}
    files: dict[str, str] = {}
    if config.grow_from is not None:
        _read_teacher(plan, config.grow_from, inputs, files)
    spec = TeacherSpec(
        teacher=teacher,
        dataset=config.dataset,
        resolution=config.resolution,
        seed=config.seed,
        config=config.as_json(),
        protocol=plan.protocol_switches("teacher"),
    )
    return plan.leaf_of(TEACHER, {"teacher": teacher}, spec, inputs=inputs, files=files)


def plan_features(plan: PlanBase, features: str, seed: int) -> Leaf[FeaturesSpec]:
    """Return a feature network that the suite trains: `benchmarks/features/<features>.yaml`, from one seed."""
    recipe = plan.catalogue.features(plan.root, features)
    if seed not in recipe.seeds:
        raise UserError(f"the feature network {features} is trained from the seeds {listed(recipe.seeds)}, not {seed}")
    inputs = {f"split_{name}".replace("-", "_").replace(".", "_"): plan_split(plan, name) for name in recipe.read}
    spec = FeaturesSpec(
        features=features, seed=seed, config=recipe.as_json(), protocol=plan.protocol_switches("evaluate")
    )
    return plan.leaf_of(FEATURES, {"features": features, "seed": seed}, spec, inputs=inputs)


def plan_distilled(plan: PlanBase, architecture: str, transfer: str, resolution: int, seed: int) -> Leaf[DistillSpec]:
    """Return the student that stage 1 distils from the preset's teacher.

    Some transfers start from the student of another one, and `scratch` has no stage 1: for these there is nothing
    to distil, which raises `UserError`.
    """
    plan.check_method(architecture, transfer, resolution)
    settings, change = plan.settings(architecture, resolution), plan.catalogue.transfers[transfer]
    if not change.distils:
        raise UserError(f"the transfer `{transfer}` has no stage 1, so there is nothing to distil")
    if change.student is not None:
        raise UserError(f"the transfer `{transfer}` starts from the student of `{change.student}`")
    registered = plan.catalogue.architectures[architecture]
    distillation = plan.catalogue.tasks[registered.task].distillation
    assert distillation is not None  # `check_method` has looked
    teacher, source = plan.teacher_of(architecture, resolution)
    inputs: dict[str, Leaf[Any]] = {}
    files: dict[str, str] = {}
    spec = DistillSpec(
        architecture=architecture,
        transfer=transfer,
        resolution=resolution,
        seed=seed,
        networks=settings["networks"],
        distillation=distillation,
        transfer_settings=change.changes(),
        teacher=teacher,
        teacher_file=_read_teacher(plan, source, inputs, files),
        distill=settings["distill"],
        protocol=plan.protocol_switches("distill"),
    )
    address: Address = {"architecture": architecture, "transfer": transfer, "resolution": resolution, "seed": seed}
    modules = (registered.student_module,)
    return plan.leaf_of(DISTILLED, address, spec, inputs=inputs, files=files, modules=modules)


def plan_run(
    plan: PlanBase, dataset: str, architecture: str, transfer: str, resolution: int, seed: int
) -> Leaf[RunSpec]:
    """Return the run of a method on a dataset: stage 2, from a distilled student unless `scratch`.

    An architecture that is made from a teacher's own networks starts from its file.
    """
    plan.check_dataset(dataset)
    plan.check_method(architecture, transfer, resolution)
    settings, change = plan.settings(architecture, resolution), plan.catalogue.transfers[transfer]
    registered = plan.catalogue.architectures[architecture]
    task = plan.dataset(dataset).task
    if task != registered.task:
        raise UserError(f"{architecture} is made for the task {registered.task}, and {dataset} is a dataset of {task}")
    inputs: dict[str, Leaf[Any]] = {"split": plan_split(plan, dataset)}
    files: dict[str, str] = {}
    if change.distils:
        inputs["distilled"] = plan_distilled(plan, architecture, change.student or transfer, resolution, seed)
    teacher, teacher_file = None, None
    if registered.starts_from_teacher:
        teacher, source = plan.teacher_of(architecture, resolution)
        teacher_file = _read_teacher(plan, source, inputs, files)
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
        teacher=teacher,
        teacher_file=teacher_file,
        protocol=plan.protocol_switches("train"),
    )
    address: Address = {
        "dataset": dataset,
        "architecture": architecture,
        "transfer": transfer,
        "resolution": resolution,
        "seed": seed,
    }
    modules = (registered.method_module, plan.catalogue.tasks[task].module)
    return plan.leaf_of(RUN, address, spec, inputs=inputs, files=files, modules=modules)


def _read_teacher(plan: PlanBase, source: str, inputs: dict[str, Leaf[Any]], files: dict[str, str]) -> str:
    """Return the path of a teacher's file relative to the root, and state it among the inputs or the files.

    `source` is a shipped or imported file (a path), or the name of a teacher that the workflow trains.
    """
    if "/" in source or source.endswith(".safetensors"):
        files[source] = file_hash(plan.root / source)
        return source
    inputs["teacher"] = trained = plan_teacher(plan, source)
    return (trained.directory / "teacher.safetensors").as_posix()
