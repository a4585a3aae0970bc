"""Plans of splits and teachers."""

from typing import Any

from kdx2i.config import DatasetConfig, listed
from kdx2i.config.models import is_file
from kdx2i.errors import UserError
from kdx2i.identity import ABSENT, file_hash
from kdx2i.plan.kinds import FEATURES, SPLIT, TEACHER
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.network_files import require_network
from kdx2i.plan.plan_base import PlanBase
from kdx2i.plan.specs import FeaturesSpec, SplitSpec, TeacherSpec


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
        read_teacher(plan, config.grow_from, inputs, files)
    spec = TeacherSpec(
        teacher=teacher,
        dataset=config.dataset,
        resolution=config.resolution,
        seed=config.seed,
        config=config.as_json(),
        protocol=plan.protocol_switches("teacher"),
    )
    return plan.leaf_of(TEACHER, {"teacher": teacher}, spec, inputs=inputs, files=files)


def read_teacher(plan: PlanBase, source: str, inputs: dict[str, Leaf[Any]], files: dict[str, str]) -> str:
    """Return the path of a teacher's file relative to the root, and state it among the inputs or the files.

    `source` is a shipped or imported file (a path), or the name of a teacher that the workflow trains.
    """
    if is_file(source):
        files[source] = file_hash(plan.root / source)
        # The reader of authors' files, which are no safetensors files, bounds them itself.
        if files[source] != ABSENT and source.endswith(".safetensors"):
            require_network(plan.root / source, files[source])
        return source
    inputs["teacher"] = trained = plan_teacher(plan, source)
    return (trained.directory / "teacher.safetensors").as_posix()


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
