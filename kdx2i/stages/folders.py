"""`kdx2i score --generated DIR --reference DIR`: any images against any others, without the workflow."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kdx2i.config import validate
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, write_json
from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.alternatives import measure, registered_extractors
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.extractors.extractor import Extractor, build_extractor
from kdx2i.metrics.extractors.preprocessing import PREPROCESSINGS
from kdx2i.metrics.extractors.weights import DOWNLOADS
from kdx2i.metrics.images.embedding import Embedding, embed
from kdx2i.metrics.images.streams import ImageFiles, open_images
from kdx2i.metrics.perceptual.trunks import STAND_IN
from kdx2i.metrics.protocols import DEPENDS, DIMENSIONS, alternatives
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.provenance import packages
from kdx2i.stages.console import screen
from kdx2i.stages.folder_entries import folder_entries
from kdx2i.stages.folder_pair import LABEL_ORDERS, Pair, class_mismatch, refusals
from kdx2i.stages.folder_report import print_document
from kdx2i.training.determinism import pick_device

FORMAT = "kdx2i-evaluation-1"
# What may be asked for, and the metric's name in the catalogue.
WORDS = {metric.word: metric.name for metric in METRICS.values() if metric.word is not None}


@dataclass(frozen=True)
class ScoreRequest:
    """What the command line asked for; `metrics` is None for all that the folders allow."""

    generated: Path
    reference: Path
    metrics: tuple[str, ...] | None = None
    extractor: str = "inception-v3-compat"
    preprocessing: str = "clean"
    input_size: int | None = None
    weights: Path | None = None
    seed: int = 0
    batch: int = 64
    infinity: bool = False
    labels: Path | None = None
    segmenter: Path | None = None
    label_order: str = "segmenter"
    device: str | None = None
    all_protocols: bool = False
    json: Path | None = None


def parse_metrics(text: str | None) -> tuple[str, ...] | None:
    """Return the metrics of a comma-separated list of words, each once; `UserError` names those that do not exist."""
    if text is None:
        return None
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in WORDS]
    if unknown or not words:
        what = f"there is no metric {', '.join(unknown)}" if unknown else "--metrics names no metric"
        raise UserError(f"{what}; choose from {', '.join(WORDS)}")
    return tuple(WORDS[word] for word in dict.fromkeys(words))


def run(request: ScoreRequest) -> dict[str, Any]:
    """Score the generated images, print the values, write them where asked, and return the document.

    A metric asked for by name that cannot be computed raises `UserError`, and nothing is written; of the others
    the value is None with a reason.
    """
    if request.json is not None:
        _check_output(request.json)
    # As use_deterministic_algorithms(True, warn_only=True) but for that one's import of PyTorch's compiler.
    torch.set_deterministic_debug_mode("warn")
    if request.label_order not in ("segmenter", *LABEL_ORDERS):
        raise UserError(f"--label-order {request.label_order} is unknown: use segmenter, {', '.join(LABEL_ORDERS)}")
    device = _device(request.device)
    pair = Pair(
        generated=open_images(request.generated),
        reference=open_images(request.reference),
        labels=request.labels,
        segmenter=request.segmenter,
        label_order=request.label_order,
        batch=request.batch,
        device=device,
    )
    refused = refusals(pair)
    for name in request.metrics or ():
        _require(name, refused.get(name))
    extractors, not_computed = _extractors(request, device, pair.generated)
    own = extractors[0]
    embedded = [_embed(pair.generated, extractors, "generated"), _embed(pair.reference, extractors, "reference")]
    settings = _settings(request)
    scorer, generated = _sides(pair, own, settings, embedded[0][0], embedded[1][0])
    values = folder_entries(scorer, generated, _asked_metrics(request), refused)
    for name in request.metrics or ():
        _require(name, values[name].get("reason"))
    document = {
        "format": FORMAT,
        "values": values,
        "generated": _described(pair.generated, embedded[0][0]),
        "reference": _described(pair.reference, embedded[1][0]),
        "protocol": _protocol(request, own),
        "packages": packages(),
    }
    if request.all_protocols:
        measurements = _measurements(pair, extractors, settings, embedded)
        document["protocols"] = {"measurements": measurements, "not_computed": not_computed}
    if all(entry["value"] is None for entry in values.values()):
        reasons = dict.fromkeys(entry["reason"] for entry in values.values())
        raise UserError(f"no metric can be computed: {next(iter(reasons))}")
    print_document(document, screen())
    if request.json is not None:
        write_json(request.json, document)
    return document


def _require(name: str, reason: str | None) -> None:
    """Refuse a metric that was asked for by name and has a reason not to be computed."""
    if reason is not None:
        raise UserError(f"{METRICS[name].word} cannot be computed: {reason}")


def _asked_metrics(request: ScoreRequest) -> list[str]:
    """Return the metrics to compute: those that were named or all, and the extrapolated FID behind FID if asked for."""
    named = request.metrics or tuple(WORDS.values())
    behind = {"FID": ["FIDinf"]} if request.infinity else {}
    return [name for metric in named for name in (metric, *behind.get(metric, ()))]


def _convention(request: ScoreRequest) -> str:
    """Return the convention of the Inception Score that goes with the network."""
    return alternatives(request.extractor, request.preprocessing)["is"][0]


def _settings(request: ScoreRequest) -> EvaluationSettings:
    """Return the request as evaluation settings: its network's Inception Score, and LPIPS of two or more outputs."""
    # The stand-in goes with the stand-in extractor: neither is what a paper means.
    network = request.extractor if request.extractor == STAND_IN else "alexnet"
    asked = {
        "extractor": request.extractor,
        "preprocessing": request.preprocessing,
        "inception_score": _convention(request),
        "diversity": {"network": network},
        "seed": request.seed,
        "batch": request.batch,
    }
    return validate(EvaluationSettings, asked, "kdx2i score")


def _sides(
    pair: Pair, extractor: Extractor, settings: EvaluationSettings, generated: Embedding, reference: Embedding
) -> tuple[Scorer, EmbeddedSet]:
    """Return the scorer of the reference images, which have no roles, and the generated images."""
    real = EmbeddedSet.of(pair.reference, pair.reference.labels, reference)
    classes = pair.reference.classes or ["all"]
    segmenter = pair.load_segmenter if pair.segmenter is not None else None
    scorer = Scorer(real, classes, settings, extractor, segmenter=segmenter, device=pair.device)
    images = EmbeddedSet.of(pair.generated, pair.generated.labels, generated)
    maps = pair.label_maps if pair.labels is not None else None
    return scorer, replace(images, outputs=pair.outputs(), label_maps=maps)


def _check_output(path: Path) -> None:
    """Refuse now, not after the work, a file that cannot be written."""
    if path.is_dir():
        raise UserError(f"--json {path} is a folder: name a file")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"--json {path} cannot be written: {parent} is no folder that you may write to")


def _device(name: str | None) -> torch.device:
    """Return the device that was asked for, or the best there is."""
    if name is None:
        return pick_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name} is unknown: use cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: PyTorch sees no GPU here, use --device cpu")
    return device


def _extractors(
    request: ScoreRequest, device: torch.device, generated: ImageFiles
) -> tuple[list[Extractor], dict[str, str]]:
    """Return the extractor of the request, then all others where every protocol was asked for, and which are absent."""
    image_size = _side(generated) if request.all_protocols or request.preprocessing == "stargan-v2" else None
    own = _extractor(request, device, image_size)
    if not request.all_protocols:
        return [own], {}
    registered, absent = registered_extractors(
        own.name, weights_path=request.weights, input_size=request.input_size, image_size=image_size, device=device
    )
    same = (own.name, own.preprocessing)
    return [own, *(other for other in registered if (other.name, other.preprocessing) != same)], absent


def _side(images: ImageFiles) -> int:
    """Return the smaller side of the first image: what StarGAN v2's evaluation calls the size of the images."""
    _, block = next(images.blocks(1))
    return min(block[0].shape[1:])


def _extractor(request: ScoreRequest, device: torch.device, image_size: int | None) -> Extractor:
    """Return the extractor of the request; missing weights say what works without them."""
    if request.preprocessing not in PREPROCESSINGS:
        known = ", ".join(PREPROCESSINGS)
        raise UserError(f"--preprocessing {request.preprocessing} is unknown: use one of {known}")
    try:
        return build_extractor(
            request.extractor,
            weights_path=request.weights,
            device=device,
            preprocessing=request.preprocessing,
            input_size=request.input_size,
            image_size=image_size,
            download=True,
        )
    except UserError as error:
        if request.extractor not in DOWNLOADS or request.weights is not None or "weights" not in str(error):
            raise
        raise UserError(f"{error}; or use --extractor efficientnet-lite0, whose weights come with a package") from None


def _embed(images: ImageFiles, extractors: Sequence[Extractor], what: str) -> list[Embedding]:
    """Embed a set of images once for all extractors, with a progress bar where somebody looks."""
    with _bar(f"{what} images", len(images)) as advance:
        return embed(images, extractors, logits=True, progress=advance)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.update(task, advance=count)


def _measurements(
    pair: Pair,
    extractors: Sequence[Extractor],
    settings: EvaluationSettings,
    embedded: Sequence[Sequence[Embedding]],
) -> list[dict[str, Any]]:
    """Return what the images score under each registered protocol; the reference images are one real set.

    Without classes in common nothing is measured by class. The accuracies are left out: no split is known.
    """
    unknown = {Need.CLASSIFIER} | ({Need.CLASSES} if class_mismatch(pair) else set())
    metrics = [name for name in DEPENDS if not METRICS[name].needs & unknown]
    measurements: list[dict[str, Any]] = []
    for extractor, *embeddings in zip(extractors, *embedded, strict=True):
        if extractor.name in DIMENSIONS["extractor"]:
            scorer, generated = _sides(pair, extractor, settings, *embeddings)
            if Need.CLASSES in unknown:
                # Everything is one class, of which a protocol takes half.
                generated = replace(generated, labels=torch.zeros_like(generated.labels))
            measurements += measure(scorer, generated, metrics, ("all",))
    return measurements


def _described(images: ImageFiles, embedding: Embedding) -> dict[str, Any]:
    """Return what the document says of a set of images."""
    return {
        "source": images.source,
        "images": len(images),
        "classes": images.classes,
        "content_sha256": embedding.content_sha256,
    }


def _protocol(request: ScoreRequest, own: Extractor) -> dict[str, Any]:
    """Return how the values were computed."""
    return {
        **own.describe(),
        "fid": "exact, covariance with n - 1",
        "kid": "full-set",
        "is": _convention(request),
        "classifier": EvaluationSettings().classifier.model_dump(include={"architecture", "flip", "l2"}),
        "segmenter_sha256": sha256_file(request.segmenter) if request.segmenter is not None else None,
        "seed": request.seed,
    }
