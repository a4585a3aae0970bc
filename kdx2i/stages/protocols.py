"""The same images under every registered protocol: `kdx2i evaluate ... --all-protocols`."""

from typing import Any, get_args

import torch

from kdx2i.errors import UserError
from kdx2i.files import write_json
from kdx2i.metrics.alternatives import Labelled, measure, registered_extractors
from kdx2i.metrics.images.embedding import embed
from kdx2i.metrics.images.streams import TensorImages
from kdx2i.metrics.settings import EvaluationSettings, RealPart
from kdx2i.metrics.sources import draw_requests
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import EvaluationSpec
from kdx2i.stages import evaluate
from kdx2i.stages.folder_report import print_measurements
from kdx2i.stages.infer import FILE, FORMAT
from kdx2i.stages.scoring import real_images
from kdx2i.stages.table import screen
from kdx2i.training.determinism import derive_seed, make_deterministic, pick_device


def run(plan: Plan, leaf: Leaf[EvaluationSpec]) -> None:
    """Generate an evaluation's images again and write what they score under each protocol beside its metrics.

    The images are those of `kdx2i evaluate` (same requests, same noise). The file is no output of the leaf: it
    states the leaf's identity, and is of no use once that changes.
    """
    spec = leaf.spec
    if spec.direction is not None:
        raise UserError(f"--all-protocols compares class-wise protocols: {spec.mode} asks for one class only")
    make_deterministic()
    device = pick_device()
    settings = EvaluationSettings.model_validate(spec.evaluation)
    split, real = real_images(leaf, spec.resolution)
    classes = len(split.classes)
    requests = draw_requests(real.labels, real.is_test, classes, settings.images_per_class, settings.seed)
    method = evaluate.load_method(leaf.inputs["run"], classes, device)
    torch.manual_seed(derive_seed(spec.seed, "evaluate", spec.mode))
    made = evaluate.translate(method, real, requests, spec.guidance, settings.batch, device)
    extractors, not_computed = registered_extractors(settings.extractor, input_size=settings.input_size, device=device)
    cache = plan.root / plan.results / ".work" / "features"
    generated = embed(TensorImages(made, requests.targets), extractors, logits=True, folder=cache)
    everything = embed(TensorImages(real.images, real.labels), extractors, logits=False, folder=cache)
    # A classifier that reads images knows no extractor, so its RC and FC are the same under every protocol.
    probe = settings.classifier if settings.classifier.architecture == "linear-probe" else None
    measurements: list[dict[str, Any]] = []
    for extractor, mine, theirs in zip(extractors, generated, everything, strict=True):
        labelled = Labelled.of(theirs, real.labels)
        sets = {name: labelled.where(torch.nonzero(real.mask(name)).flatten()) for name in get_args(RealPart)}
        images = Labelled.of(mine, requests.targets)
        measurements += measure(images, sets, classes, extractor, classifier=probe, seed=settings.seed)
    document = {"format": FORMAT, "identity": leaf.identity, "measurements": measurements, "not_computed": not_computed}
    write_json(leaf.folder / FILE, document)
    print_measurements(document, screen())
