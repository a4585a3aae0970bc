"""The same images under every registered protocol: `kdx2i evaluate ... --all-protocols`."""

from typing import Any, get_args

import torch

from kdx2i.data.rows import Split
from kdx2i.errors import UserError
from kdx2i.files import write_json
from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.alternatives import measure, registered_extractors
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.images.embedding import embed
from kdx2i.metrics.images.streams import TensorImages
from kdx2i.metrics.protocols import DEPENDS
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings, RealPart
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import EvaluationSpec
from kdx2i.stages.console import screen
from kdx2i.stages.evaluate import load_method
from kdx2i.stages.folder_report import print_measurements
from kdx2i.stages.infer import FILE, FORMAT
from kdx2i.tasks.scoring.base import generate, open_scoring
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
    scoring = open_scoring(spec.task, Split(leaf.inputs["split"].folder), spec.resolution)
    real, classes = scoring.real, scoring.task.classes
    requests = scoring.requests(spec, settings)
    method = load_method(leaf.inputs["run"], len(classes), device)
    torch.manual_seed(derive_seed(spec.seed, "evaluate", spec.mode))
    images = generate(method, requests, settings.batch, device)
    extractors, not_computed = registered_extractors(
        settings.extractor, input_size=settings.input_size, image_size=spec.resolution, device=device
    )
    cache = plan.root / plan.results / ".work" / "features"
    streams = TensorImages(images, requests.labels), TensorImages(real.images, real.labels)
    embeddings = (
        embed(streams[0], extractors, logits=True, folder=cache),
        embed(streams[1], extractors, logits=False, folder=cache),
    )
    # A classifier that reads images knows no extractor, so its RC and FC are the same under every protocol.
    one_for_all = settings.classifier.architecture != "linear-probe"
    metrics = [name for name in DEPENDS if not (one_for_all and Need.CLASSIFIER in METRICS[name].needs)]
    measurements: list[dict[str, Any]] = []
    for extractor, *pair in zip(extractors, *embeddings, strict=True):
        generated, everything = (
            EmbeddedSet.of(stream, stream.labels, one).in_memory() for stream, one in zip(streams, pair, strict=True)
        )
        scorer = Scorer(everything, classes, settings, extractor, is_test=real.is_test, device=device)
        measurements += measure(scorer, generated, metrics, get_args(RealPart))
    document = {"format": FORMAT, "identity": leaf.identity, "measurements": measurements, "not_computed": not_computed}
    write_json(leaf.folder / FILE, document)
    print_measurements(document, screen())
