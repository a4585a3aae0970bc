"""Stand-ins without bytes for what trainings read: images and conditions, encoders, teachers, published networks.

All networks have their published sizes and no weights. What the counts assume of data is said here and on the page.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast
from unittest import mock

import torch
from torch import Tensor, nn

from kdx2i.costs.counting import META
from kdx2i.data.conditions.formats import RATE
from kdx2i.encoders.damsm.encoders import Damsm
from kdx2i.encoders.damsm.settings import DamsmSettings
from kdx2i.encoders.damsm.text_encoder import RNNEncoder
from kdx2i.encoders.damsm.trunks import build_image_encoder
from kdx2i.encoders.damsm.vocabulary import END, Vocabulary
from kdx2i.encoders.speech.encoder import SpeechEncoder
from kdx2i.encoders.speech.features import BANDS
from kdx2i.encoders.speech.image_networks import InceptionTrunk
from kdx2i.encoders.speech.networks import Classifier, ImageHead, SpeechNetwork
from kdx2i.encoders.speech.settings import SpeechEncoderSizes
from kdx2i.foreign import tensor_metadata
from kdx2i.methods.cocosnet_v2.perceptual import VGG19
from kdx2i.methods.families.label_maps.perceptual import PerceptualLoss, Vgg19
from kdx2i.tasks.conditions import CaptionCondition, LabelMapCondition, SpeechCondition, TranslationCondition
from kdx2i.tasks.paired import PairedImages
from kdx2i.teacher.stylegan2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.stylegan2.weights import Teacher
from kdx2i.training.sampling import BalancedImages

NOWHERE = Path("encoder")
WORDS = 15
"""Words of a caption."""
SECONDS = 4
"""Length of an utterance."""
CHANNEL_BASE = 16384
"""Of the teachers: NVIDIA's configuration `paper256`, which FFHQ's at 256 px has."""


class _Pixels:
    """Zeros uint8 (N, 3, R, R), or (N, R, R) without channels, made where they are asked for."""

    def __init__(self, count: int, *shape: int) -> None:
        self.order, self.shape = torch.arange(count), shape

    def __getitem__(self, index: Tensor) -> Tensor:
        return torch.zeros(len(self.order[index]), *self.shape, dtype=torch.uint8)


class _Task:
    """A paired task with two training images of each class and as many test images."""

    def __init__(self, name: str, resolution: int, classes: int, labels: tuple[str, ...]) -> None:
        self.name, self.resolution, self.named = name, resolution, labels
        count = 4 * classes
        self.labels = torch.arange(count) // 4
        self.is_test = torch.arange(count) % 4 > 1
        self.images = _Pixels(count, 3, resolution, resolution)
        self.maps = _Pixels(count, resolution, resolution)

    def given(self, index: Tensor, draws: Tensor, references: Tensor | None, device: torch.device) -> Any:
        """Return a condition of images, indices int64 [B]."""
        if self.name == "text":
            return CaptionCondition(("word " * WORDS,) * len(index))
        if self.name == "speech":
            return SpeechCondition((torch.zeros(SECONDS * RATE),) * len(index), RATE)
        return LabelMapCondition(self.maps[index].to(device), self.named, references, self.maps[index].to(device))


def training_data(task: str, resolution: int, classes: int, labels: tuple[str, ...]) -> Any:
    """Return made-up training images of a task: `classes` of images, `labels` of label maps."""
    if task != "image-to-image":
        return PairedImages(cast(Any, _Task(task, resolution, classes, labels)), META)
    pixels = _Pixels(2 * classes, 3, resolution, resolution)
    return BalancedImages(pixels.__getitem__, torch.arange(2 * classes) // 2, classes, META)


def damsm(path: Path, device: torch.device) -> Damsm:
    """Return DAMSM encoders of the published sizes; `path` is not read."""
    settings = DamsmSettings()
    with META:
        text = RNNEncoder(2, settings.embedding, settings.dimension, drop_prob=settings.dropout)
        image = build_image_encoder(settings)
    return Damsm(settings, Vocabulary((END, "word")), text, image).freeze(device)


def speech_encoder(path: Path, device: torch.device, *, images: bool = False, **_: Any) -> SpeechEncoder:
    """Return a speech encoder of the published sizes, with its image network where asked; `path` is not read."""
    sizes = SpeechEncoderSizes()
    with META:
        head = ImageHead(InceptionTrunk.dimension, sizes.embedding)
        parts = SpeechNetwork(sizes, BANDS), head, Classifier(sizes.embedding, 1)
        trunk = InceptionTrunk() if images else None
    return SpeechEncoder(sizes, *parts, trunk).to(device)


def perceptual(settings: Any, device: torch.device) -> PerceptualLoss:
    """Return the perceptual loss of VGG19."""
    with META:
        return PerceptualLoss(Vgg19())


def features(*_: Any) -> nn.Module:
    """Return CoCosNet v2's VGG19."""
    with META:
        return VGG19().eval().requires_grad_(False)


def teacher(path: Path) -> Teacher:
    """Return a StyleGAN2 teacher of the sizes that its file says, or of those of `paper256` where it is not there.

    The resolution of a missing one is the end of its name, as in `ffhq-r256`.
    """
    if path.is_file():
        config = tensor_metadata(path)["config"]
    else:
        widths = {"img_resolution": int(path.stem.rpartition("r")[2]), "channel_base": CHANNEL_BASE}
        config = {"generator": widths, "discriminator": widths}
    with META:
        generator = Generator(GeneratorConfig(**config["generator"]))
        discriminator = Discriminator(DiscriminatorConfig(**config["discriminator"]))
    return Teacher(generator.eval().requires_grad_(False), discriminator.eval().requires_grad_(False), {})


def _no_file(*_: Any) -> tuple[Path, str]:
    return NOWHERE, ""


def _no_weights(*_: Any, **__: Any) -> dict[str, Tensor]:
    return {}


class _AtHand(TranslationCondition):
    """A condition whose targets stay on the CPU, where it can be seen which images go to which class."""

    def to(self, device: torch.device) -> TranslationCondition:
        """Return the condition itself."""
        return self


def condition(task: str, guidance: str, batch: int, resolution: int, data: Any) -> Any:
    """Return what a method of a task is asked for `batch` images by."""
    images = torch.zeros(batch, 3, resolution, resolution, device=META)
    if task == "image-to-image":
        return _AtHand(images, torch.arange(batch) % data.num_classes, guidance, images)
    references = images if guidance == "reference" else None
    return data.task.given(torch.zeros(batch, dtype=torch.int64), torch.zeros(batch), references, META)


PARTS: dict[str, Callable[..., Any]] = {
    "kdx2i.methods.ssa_gan.method.load_damsm": damsm,
    "kdx2i.methods.s2igan.method.load_speech_encoder": speech_encoder,
    "kdx2i.methods.spade.method.build_perceptual": perceptual,
    "kdx2i.methods.oasis.method.build_perceptual": perceptual,
    "kdx2i.methods.sean.method.build_perceptual": perceptual,
    "kdx2i.methods.cocosnet_v2.method.feature_network": features,
    "kdx2i.stages.students.load_teacher": teacher,
    "kdx2i.metrics.extractors.networks.find_inception": _no_file,
    "kdx2i.metrics.extractors.networks.load_verified": _no_weights,
    "torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3.load_state_dict": _no_weights,
}
"""What is read from files, by the name under which a method asks for it, and what stands in for it."""


@contextmanager
def without_files() -> Iterator[None]:
    """Let methods find their stand-ins where they read files."""
    with ExitStack() as stack:
        for place, stand_in in PARTS.items():
            stack.enter_context(mock.patch(place, stand_in))
        yield
