"""The classifier of RC and FC (Shmelkov et al. 2018, GAN-test and GAN-train), by name.

RC: trained on real images, tested on generated ones with their target class as label (quality).
FC: trained on generated images, tested on real held-out ones (diversity). Both are top-1 accuracies in
percent.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save
from torch import Tensor, nn

from kdx2i.bounds import NETWORK_NUMBER
from kdx2i.errors import UserError
from kdx2i.files import write_bytes
from kdx2i.foreign import refusing, require_plain
from kdx2i.metrics.classifiers.probe import LinearProbe, train_probe
from kdx2i.metrics.classifiers.resnet import build_resnet, resnet_logits, train_resnet
from kdx2i.metrics.extractors.extractor import Extractor, extract
from kdx2i.metrics.network_file import read_network
from kdx2i.metrics.settings import ClassifierSettings

_FORMAT = "kdx2i-classifier-1"
_Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


class _Header(BaseModel):
    """What the file of a classifier says of it."""

    model_config = ConfigDict(strict=True)

    settings: ClassifierSettings
    classes: int = Field(ge=1, le=NETWORK_NUMBER)
    samples: int
    extractor: str | None


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of `classes` classes.

    `samples` is the number of images it was trained on (mirrored copies not counted). `extractor` is the
    identity of the extractor whose features it reads; None where it reads images, or was not told.
    """

    settings: ClassifierSettings
    classes: int
    samples: int
    extractor: str | None
    model: LinearProbe | nn.Module

    def logits(
        self, images: Tensor | None, *, extractor: Extractor | None = None, features: Tensor | None = None
    ) -> Tensor:
        """Return the logits (N, classes) of uint8 images (N, 3, H, W).

        A linear probe reads `features` (N, d) of these images, or computes them with `extractor`; `UserError`
        if it gets neither, or an extractor other than the one it was trained with. Only a network needs `images`.
        """
        if isinstance(self.model, LinearProbe):
            if extractor is not None and self.extractor not in (None, extractor.identity):
                raise UserError("the classifier was trained on features of another extractor; train it again")
            return self.model.logits(_features(images, extractor, features))
        assert images is not None
        return resnet_logits(self.model, images, self.settings.input_size)


def _features(images: Tensor | None, extractor: Extractor | None, features: Tensor | None) -> Tensor:
    """Return the given features, or those of the images; `UserError` without both."""
    if features is not None:
        return features
    if extractor is None or images is None:
        raise UserError("a linear-probe classifier needs a feature extractor or features")
    return extract(extractor, images)


def train_classifier(
    images: Tensor | None,
    labels: Tensor,
    num_classes: int,
    settings: ClassifierSettings,
    seed: int = 0,
    *,
    extractor: Extractor | None = None,
    features: Tensor | None = None,
    device: str | torch.device = "cpu",
) -> Classifier:
    """Return a classifier trained on uint8 images (N, 3, H, W), labels int64 (N,) in 0 .. num_classes - 1.

    A linear probe trains on `features` (N, d) where given, else on those that `extractor` computes; with
    `flip` it needs the extractor for the mirrored images. Without `settings.reads_images` the features do without
    images. `UserError` for missing or wrong labels, or fewer than two images.
    """
    given = features if images is None else images
    count = 0 if given is None else given.shape[0]
    if count < 2 or labels.shape != (count,):
        raise UserError(f"a classifier needs two or more labelled images, got {count}")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise UserError(f"the labels of a classifier's training images must lie in 0 .. {num_classes - 1}")
    source = extractor.identity if extractor is not None else None
    if settings.architecture == "resnet18":
        assert images is not None
        network = train_resnet(images, labels, num_classes, settings, seed, torch.device(device))
        return Classifier(settings, num_classes, count, None, network)
    inputs, targets = _features(images, extractor, features), labels
    if settings.flip:
        if extractor is None:
            raise UserError("a linear probe with flip needs the feature extractor for the mirrored images")
        assert images is not None
        inputs = torch.cat([inputs, extract(extractor, images.flip(3))])
        targets = torch.cat([labels, labels])
    probe = train_probe(inputs, targets, num_classes, settings.l2, settings.max_iterations)
    return Classifier(settings, num_classes, count, source, probe)


def predict(
    classifier: Classifier,
    images: Tensor | None,
    *,
    extractor: Extractor | None = None,
    features: Tensor | None = None,
) -> Tensor:
    """Return the predicted classes int64 (N,) of uint8 images (N, 3, H, W); see `Classifier.logits`."""
    given = features if images is None else images
    if given is None or given.shape[0] == 0:
        return torch.zeros(0, dtype=torch.int64)
    return classifier.logits(images, extractor=extractor, features=features).argmax(1)


def accuracy(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    extractor: Extractor | None = None,
    features: Tensor | None = None,
) -> float:
    """Return the top-1 accuracy in percent on uint8 images (N, 3, H, W), N >= 1; `UserError` for none."""
    if images.shape[0] == 0:
        raise UserError("accuracy needs at least one image")
    predicted = predict(classifier, images, extractor=extractor, features=features)
    return 100.0 * int((predicted == labels).sum()) / images.shape[0]


def wilson_interval(correct: float, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval, in percent, of `correct` successes in `total` >= 1 trials.

    `correct` may be a sum of shares of successes: their spread is smaller, so the interval is then too wide.

    Source: Wilson 1927. It takes the images as independent draws.
    """
    share, spread = correct / total, _Z95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    low = 0.0 if correct == 0 else 100.0 * (centre - half)
    high = 100.0 if correct == total else 100.0 * (centre + half)
    return low, high


def save_classifier(path: Path, classifier: Classifier, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a classifier as safetensors, atomically; `metadata` (JSON values) is kept beside its own."""
    if isinstance(classifier.model, LinearProbe):
        tensors = {name: getattr(classifier.model, name).contiguous() for name in ("centre", "weight", "bias")}
    else:
        tensors = {name: value.contiguous() for name, value in classifier.model.state_dict().items()}
    header = {
        "format": _FORMAT,
        "settings": classifier.settings.model_dump(),
        "classes": classifier.classes,
        "samples": classifier.samples,
        "extractor": classifier.extractor,
    }
    text = json.dumps({**(metadata or {}), **header}, sort_keys=True, allow_nan=False)
    write_bytes(path, save(tensors, metadata={"kdx2i": text}))


def load_classifier(path: Path, device: str | torch.device = "cpu") -> Classifier:
    """Return the classifier that `save_classifier` wrote; `UserError` for a missing or damaged file."""
    if require_plain(path) is None:
        raise UserError(f"{path} does not exist; train the real classifier first")
    tensors, metadata = read_network(path)
    if metadata.get("format") != _FORMAT:
        raise UserError(f"{path} is no classifier that kdx2i trained")
    with refusing(f"{path} is not a readable classifier"):
        header = _Header.model_validate({key: metadata.get(key) for key in _Header.model_fields})
        if header.settings.architecture == "linear-probe":
            model: LinearProbe | nn.Module = LinearProbe(**tensors)
            width, kinds = len(tensors["centre"]), {tensor.dtype for tensor in tensors.values()}
            shapes = [tuple(tensors[name].shape) for name in ("centre", "weight", "bias")]
            if shapes != [(width,), (width, header.classes), (header.classes,)] or kinds != {torch.float64}:
                raise ValueError("its tensors do not belong together")
        else:
            if tensors["fc.bias"].shape != (header.classes,):
                raise ValueError(f"its last layer does not have {header.classes} classes")
            bare = header.settings.model_copy(update={"initial_weights": None, "initial_weights_sha256": None})
            model = build_resnet(header.classes, bare)
            model.load_state_dict(tensors)
            model = model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return Classifier(header.settings, header.classes, header.samples, header.extractor, model)
