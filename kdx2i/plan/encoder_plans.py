"""Plans of encoders of conditions, and how what reads conditions states the encoder that it reads them by."""

from typing import Any

from kdx2i.config.models import is_file
from kdx2i.errors import UserError
from kdx2i.identity import ABSENT, file_hash
from kdx2i.plan.kinds import ENCODER
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.network_files import require_network
from kdx2i.plan.plan_base import PlanBase
from kdx2i.plan.specs import EncoderSpec
from kdx2i.plan.teacher_plans import plan_split

ENCODER_FILE = "encoder.safetensors"


def plan_encoder(plan: PlanBase, encoder: str) -> Leaf[EncoderSpec]:
    """Return an encoder that the suite trains: `benchmarks/encoders/<encoder>.yaml`.

    `UserError` where its dataset has other conditions than it encodes.
    """
    recipe = plan.catalogue.encoders(plan.root, encoder)
    task = plan.dataset(recipe.dataset).task
    if task != recipe.task:
        raise UserError(
            f"benchmarks/encoders/{encoder}.yaml: an encoder of the kind {recipe.kind} is made for the task "
            f"{recipe.task}, and {recipe.dataset} is a dataset of {task}"
        )
    spec = EncoderSpec(
        encoder=encoder,
        dataset=recipe.dataset,
        resolution=recipe.resolution,
        seed=recipe.seed,
        config=recipe.as_json(),
        protocol=plan.protocol_switches("encoder"),
    )
    inputs = {"split": plan_split(plan, recipe.dataset)}
    return plan.leaf_of(ENCODER, {"encoder": encoder}, spec, inputs=inputs, modules=(recipe.module,))


def read_encoder(plan: PlanBase, dataset: str, inputs: dict[str, Leaf[Any]], files: dict[str, str]) -> str | None:
    """Return the path, relative to the root, of the encoder of a dataset's conditions; None where none is named.

    It is stated among the files where it is shipped or imported, else among the inputs, in the role `encoder`.
    `UserError` for a recipe of another dataset: it may have learned from this one's test images.
    """
    source = plan.encoder_of(dataset)
    if source is None:
        return None
    if is_file(source):
        files[source] = file_hash(plan.root / source)
        if files[source] != ABSENT:
            require_network(plan.root / source, files[source])
        return source
    inputs["encoder"] = trained = plan_encoder(plan, source)
    if trained.spec.dataset != dataset:
        raise UserError(
            f"preset {plan.preset.name}, encoders.{dataset}: the encoder {source} is trained on {trained.spec.dataset}"
        )
    return (trained.directory / ENCODER_FILE).as_posix()
