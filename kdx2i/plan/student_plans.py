"""Plans of students: distilled here, made from a recipe to be shipped, or shipped and measured here."""

from collections.abc import Iterable, Mapping
from typing import Any

from kdx2i.config import ArchitectureConfig, load_student, merged
from kdx2i.errors import UserError
from kdx2i.identity import file_hash
from kdx2i.plan.kinds import DISTILLED, MEASURED, STAGE1, STUDENT, Address
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.plan_base import PlanBase
from kdx2i.plan.shipped import ShippedStudent, read_shipped
from kdx2i.plan.specs import DistillSpec, MeasuredSpec, RunSpec, Stage1Spec
from kdx2i.plan.teacher_plans import read_teacher


def plan_distilled(plan: PlanBase, architecture: str, transfer: str, resolution: int, seed: int) -> Leaf[DistillSpec]:
    """Return the student that stage 1 distils from the preset's teacher.

    Some transfers start from the student of another one, and `scratch` has no stage 1: for these there is nothing
    to distil, which raises `UserError`.
    """
    plan.check_method(architecture, transfer, resolution)
    settings = plan.settings(architecture, resolution)
    inputs: dict[str, Leaf[Any]] = {}
    files: dict[str, str] = {}
    spec = _distill_spec(plan, plan, (architecture, transfer, resolution, seed), settings, inputs, files)
    address: Address = {"architecture": architecture, "transfer": transfer, "resolution": resolution, "seed": seed}
    modules = plan.catalogue.student_modules(architecture)
    return plan.leaf_of(DISTILLED, address, spec, inputs=inputs, files=files, modules=modules)


def plan_student(plan: PlanBase, student: str) -> Leaf[DistillSpec]:
    """Return a student that is made to be shipped: `benchmarks/students/<student>.yaml`.

    Its recipe names the preset whose networks, teacher and settings of stage 1 it takes.
    """
    recipe = load_student(plan.root, student)
    base = plan.other(recipe.preset)
    base.check_method(recipe.architecture, recipe.transfer, recipe.resolution)
    where = f"benchmarks/students/{student}.yaml"
    own = base.settings(recipe.architecture, recipe.resolution)
    config = ArchitectureConfig(networks=own["networks"], distill=merged(own["distill"], recipe.distill))
    settings = plan.catalogue.settings(recipe.architecture, config, recipe.resolution, where)
    inputs: dict[str, Leaf[Any]] = {}
    files: dict[str, str] = {}
    method = (recipe.architecture, recipe.transfer, recipe.resolution, recipe.seed)
    spec = _distill_spec(plan, base, method, settings, inputs, files)
    modules = plan.catalogue.student_modules(recipe.architecture)
    return plan.leaf_of(STUDENT, {"student": student}, spec, inputs=inputs, files=files, modules=modules)


def _distill_spec(
    plan: PlanBase,
    base: PlanBase,
    method: tuple[str, str, int, int],
    settings: Mapping[str, Any],
    inputs: dict[str, Leaf[Any]],
    files: dict[str, str],
) -> DistillSpec:
    """Return what stage 1 of a method needs to know under the preset of `base`; its teacher goes to inputs or files."""
    architecture, transfer, resolution, seed = method
    change = base.transfers[transfer]
    if not change.distils:
        raise UserError(f"the transfer `{transfer}` has no stage 1, so there is nothing to distil")
    if change.student is not None:
        raise UserError(f"the transfer `{transfer}` starts from the student of `{change.student}`")
    distillation = plan.catalogue.tasks[plan.catalogue.architectures[architecture].task].distillation
    assert distillation is not None  # `check_method` has looked
    teacher, source = base.teacher_of(architecture, resolution)
    return DistillSpec(
        architecture=architecture,
        transfer=transfer,
        resolution=resolution,
        seed=seed,
        networks=settings["networks"],
        distillation=distillation,
        transfer_settings=change.first_stage(),
        teacher=teacher,
        teacher_file=read_teacher(plan, source, inputs, files),
        distill=settings["distill"],
        held_out=base.preset.held_out,
        protocol=base.protocol_switches("distill"),
    )


def shipped_student(plan: PlanBase, architecture: str, transfer: str, resolution: int) -> ShippedStudent | None:
    """Return the header of the shipped student that a method's runs start from; None where it is distilled."""
    path = plan.shipped_file(architecture, transfer, resolution)
    return None if path is None else read_shipped(plan.root / path)


def plan_measured(plan: PlanBase, architecture: str, transfer: str, resolution: int) -> Leaf[MeasuredSpec]:
    """Return the measures, taken on this machine, of the shipped student that a preset names.

    They are taken with the networks and settings that the file says it was made with.
    """
    plan.check_method(architecture, transfer, resolution)
    path = plan.shipped_file(architecture, transfer, resolution)
    if path is None:
        raise UserError(
            f"preset {plan.preset.name} names no shipped student of {architecture} {transfer} at {resolution} px"
        )
    spec = read_shipped(plan.root / path).spec
    if (spec.architecture, spec.transfer, spec.resolution) != (architecture, transfer, resolution):
        raise UserError(
            f"{path} is a student of {spec.architecture} {spec.transfer} at {spec.resolution} px, and preset "
            f"{plan.preset.name} names it for {architecture} {transfer} at {resolution} px"
        )
    config = ArchitectureConfig(networks=spec.networks, distill=spec.distill)
    settings = plan.catalogue.settings(architecture, config, resolution, path)
    measured = MeasuredSpec(
        **spec.model_dump(exclude={"networks", "distill"}),
        networks=settings["networks"],
        distill=settings["distill"],
        student_file=path,
    )
    files = {name: file_hash(plan.root / name) for name in (path, spec.teacher_file)}
    address: Address = {"architecture": architecture, "transfer": transfer, "resolution": resolution}
    modules = plan.catalogue.student_modules(architecture)
    return plan.leaf_of(MEASURED, address, measured, files=files, modules=modules)


def plan_measures(
    plan: PlanBase, architecture: str, transfer: str, resolution: int, seed: int
) -> Leaf[MeasuredSpec] | Leaf[DistillSpec]:
    """Return the leaf that holds the measures of a method's student: shipped, or distilled with a seed."""
    if plan.shipped_file(architecture, transfer, resolution) is not None:
        return plan_measured(plan, architecture, transfer, resolution)
    return plan_distilled(plan, architecture, transfer, resolution, seed)


def plan_stage1(plan: PlanBase, runs: Iterable[Leaf[RunSpec]]) -> Leaf[Stage1Spec]:
    """Return the table of the measures of all students that runs start from; none raises `UserError`."""
    students: dict[str, Leaf[Any]] = {}
    for run in runs:
        change = plan.transfers[run.spec.transfer]
        if change.distils:
            spec = run.spec
            method = (spec.architecture, change.student or spec.transfer, spec.resolution, spec.seed)
            leaf: Leaf[Any] = plan_measures(plan, *method)
            students[leaf.name] = leaf
    if not students:
        raise UserError(f"no table of preset {plan.preset.name} needs a student, so there is no stage 1 to measure")
    place = {
        name: (s.spec.architecture, s.spec.transfer, s.spec.resolution, s.spec.seed) for name, s in students.items()
    }
    ordered = {name: students[name] for name in sorted(students, key=place.__getitem__)}
    spec1 = Stage1Spec(students=tuple(ordered), preset=plan.preset.name, seeds=plan.seeds)
    return plan.leaf_of(STAGE1, {}, spec1, inputs=ordered)
