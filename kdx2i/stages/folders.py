"""`kdx2i score --generated DIR --reference DIR`: any images against any others, without the workflow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from kdx2i.config import validate
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, write_bytes
from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.alternatives import measure, registered_extractors
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.extractors.extractor import Extractor, build_extractor
from kdx2i.metrics.extractors.weights import DOWNLOADS
from kdx2i.metrics.images.embedding import Embedding, embed
from kdx2i.metrics.images.listing import Listing
from kdx2i.metrics.images.streams import ImageFiles
from kdx2i.metrics.perceptual.trunks import STAND_IN
from kdx2i.metrics.protocols import DEPENDS, DIMENSIONS, alternatives
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.provenance import packages
from kdx2i.stages.console import mute, screen
from kdx2i.stages.cross_check import cross_check
from kdx2i.stages.folder_differences import MeasuredFiles, differences
from kdx2i.stages.folder_entries import folder_entries
from kdx2i.stages.folder_pair import LABEL_ORDERS, Pair, class_mismatch, note_sources, refusals
from kdx2i.stages.folder_report import print_document
from kdx2i.stages.folder_request import Listings, ScoreRequest, check
from kdx2i.stages.progress import progress_bar
from kdx2i.stages.reference_statistics import UNSTATED, Statistics, read_statistics, write_statistics
from kdx2i.training.determinism import pick_device

FORMAT = "kdx2i-evaluation-1"


def run(request: ScoreRequest, listings: Listings | None = None) -> dict[str, Any]:
    """Score the generated images, write the values where asked, print them, and return the document.

    All that was named is checked before any image is read: `listings` is what `check` returned, if it was called. A
    metric asked for by name that cannot be computed raises `UserError`, and nothing is written; of the others the
    value is None with a reason. A file that cannot be written raises it after the values were printed.
    """
    listings = listings or check(request)
    # As use_deterministic_algorithms(True, warn_only=True) but for that one's import of PyTorch's compiler.
    torch.set_deterministic_debug_mode("warn")
    if request.label_order not in ("segmenter", *LABEL_ORDERS):
        raise UserError(f"--label-order {request.label_order} is unknown: use segmenter, {', '.join(LABEL_ORDERS)}")
    pair = Pair(
        generated=MeasuredFiles(listings.generated, request.alpha),
        reference=read_statistics(request.reference)
        if listings.reference is None
        else MeasuredFiles(listings.reference, request.alpha),
        labels=request.labels,
        segmenter_file=request.segmenter,
        label_order=request.label_order,
        batch=request.batch,
        device=_device(request.device),
    )
    refused = refusals(pair, request.asked)
    for name in request.metrics or ():
        _require(name, refused.get(name))
    document = _document(request, pair, refused)
    failed = _written(request.json, document) if request.json is not None else None
    try:
        print_document(document, screen())
    except OSError as error:
        if request.json is None:
            raise
        # The measurement is kept: nobody who reads the table is no fault of it.
        mute()
        if failed is None and not isinstance(error, BrokenPipeError):
            raise UserError(f"the values are in {request.json}, but cannot be printed: {error.strerror}") from None
    if failed is not None:
        raise failed
    return document


def save_statistics(request: ScoreRequest, reference: Listing) -> None:
    """Embed the reference images alone, and write their statistics where the request says."""
    assert request.save_statistics is not None
    torch.set_deterministic_debug_mode("warn")
    images = MeasuredFiles(reference, request.alpha)
    device = _device(request.device)
    own = _extractor(request, device, _side(images) if request.preprocessing == "stargan-v2" else None)
    write_statistics(request.save_statistics, images, _embed(images, [own], "reference")[0], own)


def _document(request: ScoreRequest, pair: Pair, refused: dict[str, str]) -> dict[str, Any]:
    """Return what is written: the values, what they were computed of and how."""
    settings = _settings(request)
    extractors, not_computed = _extractors(request, pair.device, pair.generated)
    own = extractors[0]
    if isinstance(pair.reference, Statistics):
        pair.reference.check(own)
    embedded = [_embed(pair.generated, extractors, "generated")]
    if isinstance(pair.reference, Statistics):
        real = pair.reference.embedded()
    else:
        embedded.append(_embed(pair.reference, extractors, "reference"))
        real = EmbeddedSet.of(pair.reference, pair.reference.labels, embedded[1][0])
        if request.save_statistics is not None:
            write_statistics(request.save_statistics, pair.reference, embedded[1][0], own)
    scorer, images = _sides(pair, own, settings, embedded[0][0], real)
    values = folder_entries(scorer, images, _asked_metrics(request), refused)
    for name in request.metrics or ():
        _require(name, values[name].get("reason"))
    if all(entry["value"] is None for entry in values.values()):
        reasons = dict.fromkeys(entry["reason"] for entry in values.values())
        raise UserError(f"no metric can be computed: {next(iter(reasons))}")
    note_sources(values, pair)
    document: dict[str, Any] = {
        "format": FORMAT,
        "values": values,
        "generated": _described(pair.generated, embedded[0][0]),
        "reference": _described_statistics(pair.reference, values)
        if isinstance(pair.reference, Statistics)
        else _described(pair.reference, embedded[1][0]),
        "differences": [] if isinstance(pair.reference, Statistics) else differences(pair.generated, pair.reference),
        "protocol": _protocol(request, own),
        "packages": packages(),
    }
    if request.cross_check:
        folders = request.generated, request.reference
        document["cross_check"] = cross_check(*folders, own, values, request.weights, request.seed)
    if request.all_protocols:
        measurements = _measurements(pair, extractors, settings, embedded)
        document["protocols"] = {"measurements": measurements, "not_computed": not_computed}
    return document


def document_text(document: Mapping[str, Any]) -> str:
    """Return a document as `--json` gives it."""
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _written(path: Path, document: dict[str, Any]) -> UserError | None:
    """Write the document, before anything is printed that might fail; return why it could not be written.

    A name that is no UTF-8 is escaped as JSON escapes it, and comes out of a JSON reader as the system has it.
    """
    try:
        write_bytes(path, document_text(document).encode("utf-8", "backslashreplace"))
    except OSError as error:
        return UserError(f"--json {path} could not be written: {error.strerror}")
    return None


def _require(name: str, reason: str | None) -> None:
    """Refuse a metric that was asked for by name and has a reason not to be computed."""
    if reason is not None:
        raise UserError(f"{METRICS[name].word} cannot be computed: {reason}")


def _asked_metrics(request: ScoreRequest) -> list[str]:
    """Return the metrics to compute: those that were named or all, and the extrapolated FID behind FID if asked for."""
    behind = {"FID": ["FIDinf"]} if request.infinity else {}
    return [name for metric in request.asked for name in (metric, *behind.get(metric, ()))]


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
    pair: Pair, extractor: Extractor, settings: EvaluationSettings, generated: Embedding, real: EmbeddedSet
) -> tuple[Scorer, EmbeddedSet]:
    """Return the scorer of the reference images, which have no roles, and the generated images."""
    classes = pair.reference.classes or ["all"]
    segmenter = (lambda: pair.segmenter) if pair.segmenter_file is not None else None
    scorer = Scorer(real, classes, settings, extractor, segmenter=segmenter, device=pair.device)
    images = EmbeddedSet.of(pair.generated, pair.generated.labels, generated)
    maps = (lambda: pair.label_maps) if pair.labels is not None else None
    return scorer, replace(images, outputs=pair.outputs(), label_maps=maps)


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
    seen = torch.cuda.device_count()
    if device.type == "cuda" and not seen:
        raise UserError(f"--device {name}: PyTorch sees no GPU here, use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= seen:
        raise UserError(f"--device {name}: PyTorch sees {seen} GPU(s) here, numbered from 0")
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
    with progress_bar(f"{what} images", len(images)) as advance:
        return embed(images, extractors, logits=True, progress=advance)


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
            real = EmbeddedSet.of(pair.reference, pair.reference.labels, embeddings[1])
            scorer, generated = _sides(pair, extractor, settings, embeddings[0], real)
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
        "left_out": images.listing.left_out.describe(),
        "remarks": {remark: len(images.remarks[remark]) for remark in sorted(images.remarks)},
    }


def _described_statistics(reference: Statistics, values: dict[str, Any]) -> dict[str, Any]:
    """Return what the document says of a file of statistics; of moments alone no count and no interval is known."""
    moments = reference.features is None
    for entry in values.values() if moments else ():
        entry.pop("interval", None)
        entry.pop("standard_error", None)
        entry.pop("n_real", None)
    return {
        "source": reference.source,
        "images": None if moments else len(reference),
        "classes": reference.classes,
        "content_sha256": reference.stated.get("content_sha256"),
        "sha256": sha256_file(reference.path),
        "left_out": reference.listing.left_out.describe(),
        "remarks": {} if reference.stated else {UNSTATED: 1},
    }


def _protocol(request: ScoreRequest, own: Extractor) -> dict[str, Any]:
    """Return how the values were computed."""
    return {
        **own.describe(),
        "fid": "exact, covariance with n - 1",
        "kid": "full-set",
        "is": _convention(request),
        "classifier": EvaluationSettings().classifier.model_dump(include={"architecture", "flip", "l2"}),
        "alpha": request.alpha,
        "segmenter_sha256": sha256_file(request.segmenter) if request.segmenter is not None else None,
        "seed": request.seed,
    }
