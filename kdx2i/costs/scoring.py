"""What scoring networks compute: FLOP of an image that is embedded, classified, segmented or compared."""

from dataclasses import dataclass
from functools import cache
from unittest import mock

import torch
import torch.nn.functional as functional
from torch import Tensor

from kdx2i.costs import made_up
from kdx2i.costs.counting import META, counting
from kdx2i.metrics.classifiers.classifier import train_classifier
from kdx2i.metrics.classifiers.resnet import resnet_logits
from kdx2i.metrics.extractors.extractor import build_extractor
from kdx2i.metrics.perceptual.trunks import STAND_IN, bare_model, from_model
from kdx2i.metrics.segmentation.segmenter import train_segmenter
from kdx2i.metrics.segmentation.settings import SegmenterSettings
from kdx2i.metrics.settings import ClassifierSettings

BATCH = 16


@dataclass(frozen=True)
class Trained:
    """FLOP of an image of one epoch of a training, and of an image that the trained network sees."""

    epoch: float
    image: float


def _pixels(count: int, side: int) -> Tensor:
    return torch.zeros(count, 3, side, side, dtype=torch.uint8)


@cache
def extractor_flop(name: str, preprocessing: str, side: int) -> float | None:
    """Return the FLOP of an image's features and logits; None for other networks than FID's."""
    if name != "inception-v3-compat":
        return None
    with made_up.without_files(), counting() as counter, META:
        extractor = build_extractor(name, preprocessing=preprocessing, device=META)
        counter.restart()
        extractor.outputs(_pixels(BATCH, side))
        return counter.flop / BATCH


@cache
def classifier_flop(settings: ClassifierSettings, classes: int, side: int) -> Trained | None:
    """Return the counts of RC's and FC's network; None for the linear probe, which costs nothing beside features."""
    if settings.architecture != "resnet18":
        return None
    bare = {"epochs": 1, "initial_weights": None, "initial_weights_sha256": None}
    labels = torch.arange(settings.batch) % classes
    with counting() as counter:
        trained = train_classifier(
            _pixels(settings.batch, side), labels, classes, settings.model_copy(update=bare), device=META
        )
        epoch = counter.flop / settings.batch
        counter.restart()
        assert isinstance(trained.model, torch.nn.Module)
        resnet_logits(trained.model, _pixels(BATCH, side), settings.input_size)
        return Trained(epoch, counter.flop / BATCH)


@cache
def segmenter_flop(settings: SegmenterSettings, labels: int, side: int) -> Trained:
    """Return the counts of mIoU's network; its loss, which has no products, is taken over all pixels."""
    maps = torch.zeros(settings.batch, side, side, dtype=torch.uint8)
    names = [str(number) for number in range(labels)]
    with mock.patch("kdx2i.metrics.segmentation.segmenter.ohem_loss", _plain_loss), counting() as counter:
        once = settings.model_copy(update={"epochs": 1})
        trained = train_segmenter(_pixels(settings.batch, side), maps, names, once, device=META)
        epoch = counter.flop / settings.batch
        counter.restart()
        trained.segment(_pixels(BATCH, side))
        return Trained(epoch, counter.flop / BATCH)


def _plain_loss(logits: Tensor, labels: Tensor, *_: object) -> Tensor:
    return functional.cross_entropy(logits, labels)


@cache
def diversity_flop(name: str, side: int) -> float | None:
    """Return the FLOP of an image's activations for LPIPS; None for its stand-in."""
    if name == STAND_IN:
        return None
    with counting() as counter:
        network = from_model(bare_model(name), name, "", "lpips", META)
        counter.restart()
        network.activations(_pixels(BATCH, side))
        return counter.flop / BATCH


@cache
def matcher_flop(task: str, side: int) -> float:
    """Return the FLOP of an image's code by the encoder that R-precision asks."""
    images = torch.zeros(BATCH, 3, side, side, device=META)
    with counting() as counter, torch.no_grad():
        if task == "text":
            encoder = made_up.damsm(made_up.NOWHERE, META)
            counter.restart()
            encoder.encode_images(images)
        else:
            speech = made_up.speech_encoder(made_up.NOWHERE, META, images=True)
            counter.restart()
            speech.embed_images(images)
        return counter.flop / BATCH
