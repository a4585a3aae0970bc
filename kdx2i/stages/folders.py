"""`kdx2i evaluate --generated DIR --reference DIR`: any images against any others, without the workflow."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kdx2i.errors import UserError
from kdx2i.files import sha256_file, write_json
from kdx2i.metrics.alternatives import Labelled, measure, registered_extractors
from kdx2i.metrics.extractors.extractor import Extractor, build_extractor
from kdx2i.metrics.extractors.resize import RESIZES
from kdx2i.metrics.images.embedding import Embedding, embed
from kdx2i.metrics.images.streams import ImageFiles, open_images
from kdx2i.metrics.protocols import DIMENSIONS
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.provenance import packages
from kdx2i.stages.folder_report import print_document
from kdx2i.stages.folder_scores import LABEL_ORDERS, METRICS, Pair, class_mismatch, refusals, scores
from kdx2i.stages.table import screen
from kdx2i.training.determinism import pick_device

FORMAT = "kdx2i-evaluation-1"


@dataclass(frozen=True)
class Request:
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
    """Return the metrics of a comma-separated list, each once; `UserError` names those that do not exist."""
    if text is None:
        return None
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        what = f"there is no metric {', '.join(unknown)}" if unknown else "--metrics names no metric"
        raise UserError(f"{what}; choose from {', '.join(METRICS)}")
    return tuple(dict.fromkeys(names))


def run(request: Request) -> dict[str, Any]:
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
    generated, reference = open_images(request.generated), open_images(request.reference)
    pair = Pair(
        generated=generated,
        reference=reference,
        labels=request.labels,
        segmenter=request.segmenter,
        label_order=request.label_order,
        infinity=request.infinity,
        seed=request.seed,
        batch=request.batch,
        device=device,
    )
    refused = refusals(pair)
    wanted = request.metrics or tuple(METRICS)
    for name in request.metrics or ():
        if name in refused:
            raise UserError(f"{name} cannot be computed: {refused[name]}")
    own = _extractor(request, device)
    extractors, not_computed = [own], dict[str, str]()
    if request.all_protocols:
        options = {"weights_path": request.weights, "input_size": request.input_size, "device": device}
        others, not_computed = registered_extractors(own.name, **options)  # type: ignore[arg-type]
        same = (own.name, own.preprocessing)
        extractors += [other for other in others if (other.name, other.preprocessing) != same]
    embedded = [_embed(generated, extractors, "generated"), _embed(reference, extractors, "reference")]
    values = scores(pair, own, embedded[0][0], embedded[1][0], wanted, refused)
    for name in request.metrics or ():
        if values[METRICS[name]]["value"] is None:
            raise UserError(f"{name} cannot be computed: {values[METRICS[name]]['reason']}")
    document = {
        "format": FORMAT,
        "values": values,
        "generated": _described(generated, embedded[0][0]),
        "reference": _described(reference, embedded[1][0]),
        "protocol": _protocol(request, own),
        "packages": packages(),
    }
    if request.all_protocols:
        measurements = _measurements(pair, extractors, embedded)
        document["protocols"] = {"measurements": measurements, "not_computed": not_computed}
    if all(entry["value"] is None for entry in values.values()):
        reasons = dict.fromkeys(entry["reason"] for entry in values.values())
        raise UserError(f"no metric can be computed: {next(iter(reasons))}")
    print_document(document, screen())
    if request.json is not None:
        write_json(request.json, document)
    return document


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


def _extractor(request: Request, device: torch.device) -> Extractor:
    """Return the extractor of the request; missing weights say what works without them."""
    if request.preprocessing not in RESIZES:
        raise UserError(f"--preprocessing {request.preprocessing} is unknown: use {' or '.join(RESIZES)}")
    try:
        return build_extractor(
            request.extractor,
            weights_path=request.weights,
            device=device,
            preprocessing=request.preprocessing,  # type: ignore[arg-type]
            input_size=request.input_size,
            download=True,
        )
    except UserError as error:
        if request.extractor != "inception-v3-compat" or request.weights is not None or "weights" not in str(error):
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
    pair: Pair, extractors: Sequence[Extractor], embedded: Sequence[Sequence[Embedding]]
) -> list[dict[str, Any]]:
    """Return what the images score under each registered protocol; the reference images are one real set."""
    found: list[dict[str, Any]] = []
    # Without classes in common everything is one class.
    classwise = not class_mismatch(pair)
    sets = (pair.generated, pair.reference)
    labels = [s.labels if classwise else torch.zeros(len(s), dtype=torch.int64) for s in sets]
    for extractor, mine, theirs in zip(extractors, *embedded, strict=True):
        if extractor.name in DIMENSIONS["extractor"]:
            made, real = Labelled.of(mine, labels[0]), Labelled.of(theirs, labels[1])
            classes = pair.classes if classwise else 1
            found += measure(made, {"all": real}, classes, extractor, classifier=None, seed=pair.seed)
    return found


def _described(images: ImageFiles, embedding: Embedding) -> dict[str, Any]:
    """Return what the document says of a set of images."""
    return {
        "source": images.source,
        "images": len(images),
        "classes": images.classes,
        "content_sha256": embedding.content_sha256,
    }


def _protocol(request: Request, own: Extractor) -> dict[str, Any]:
    """Return how the values were computed."""
    return {
        **own.describe(),
        "fid": "exact, covariance with n - 1",
        "kid": "full-set",
        "is": "torch-fidelity",
        "classifier": EvaluationSettings().classifier.model_dump(include={"architecture", "flip", "l2"}),
        "segmenter_sha256": sha256_file(request.segmenter) if request.segmenter is not None else None,
        "seed": request.seed,
    }
