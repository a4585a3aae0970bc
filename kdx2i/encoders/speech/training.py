"""Training of the speech encoder against the image encoder (`steps/trainer.py` of xinshengwang/S2IGAN)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.encoders.speech.augmentation import crop_and_mirror
from kdx2i.encoders.speech.encoder import SpeechEncoder
from kdx2i.encoders.speech.features import speech_features
from kdx2i.encoders.speech.image_networks import build_image_network
from kdx2i.encoders.speech.losses import matching_losses
from kdx2i.encoders.speech.networks import Classifier, ImageHead, SpeechNetwork, padded
from kdx2i.encoders.speech.settings import SpeechEncoderSettings
from kdx2i.errors import UserError
from kdx2i.tasks.conditions import SpeechCondition
from kdx2i.tasks.speech import OpenTask
from kdx2i.training.determinism import derive_seed
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import to_images

SHOWN = 8


@dataclass(frozen=True)
class SpokenImages:
    """The training images of a split with their utterances.

    `labels` int64 (N,) are their classes, counted 0 ... `classes` - 1 among the classes of the training images.
    """

    task: OpenTask
    index: Tensor
    labels: Tensor
    classes: int

    def draw(self, batch: int) -> tuple[Tensor, SpeechCondition, Tensor]:
        """Draw different images uint8 [B, 3, R, R], one utterance of each, and their classes int64 [B]."""
        chosen = torch.randperm(len(self.index))[:batch]
        index, draws = self.index[chosen], torch.rand(batch)
        condition = self.task.given(index, draws, None, torch.device("cpu"))
        return self.task.images[index], condition, self.labels[chosen]


def spoken_images(task: OpenTask) -> SpokenImages:
    """Return the training images of a task; no test image is among them."""
    index = torch.nonzero(~task.is_test).flatten()
    names = [task.rows[number].label for number in index.tolist()]
    order = {name: number for number, name in enumerate(sorted(set(names)))}
    return SpokenImages(task, index, torch.tensor([order[name] for name in names]), len(order))


class SpeechEncoderLearning:
    """The `Trainable` of the speech encoder: matching both ways and the classes of both embeddings.

    The image network stays as published. The encoder of the last step is kept; the official code keeps the best on
    the test split (protocol entry s2igan-encoder-selection).
    """

    def __init__(self, settings: SpeechEncoderSettings, data: SpokenImages, seed: int, device: torch.device) -> None:
        self.settings, self.data, self.device = settings, data, device
        sizes, t = settings.sizes, settings.train
        if len(data.index) < t.batch:
            raise UserError(f"a batch of {t.batch} is more than the {len(data.index)} training images with speech")
        self.image_network = build_image_network(sizes.image_network, settings.image_weights, device)
        features = int(self.image_network.dimension)  # type: ignore[arg-type]
        torch.manual_seed(derive_seed(seed, "initialise"))
        networks: dict[str, nn.Module] = {
            "speech": SpeechNetwork(sizes),
            "image": ImageHead(features, sizes.embedding),
            "classifier": Classifier(sizes.embedding, data.classes),
        }
        self.networks: Mapping[str, nn.Module] = {name: network.to(device) for name, network in networks.items()}
        self.averages: Mapping[str, nn.Module] = {}
        parameters = [p for network in networks.values() for p in network.parameters()]
        optimizer = adam(parameters, t.learning_rate, (t.beta1, t.beta2), weight_decay=t.weight_decay)
        self.optimizers: Mapping[str, Optimizer] = {"encoder": optimizer}

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One update; the rate is divided by ten every `decay_every` steps."""
        t = self.settings.train
        for group in self.optimizers["encoder"].param_groups:
            group["lr"] = t.learning_rate * 0.1 ** (step // t.decay_every)
        pixels, condition, labels = self.data.draw(t.batch)
        images, speech = self._embeddings(crop_and_mirror(pixels, pixels.shape[-1], t.enlarge), condition)
        labels = labels.to(self.device)
        to_speech, to_images_ = matching_losses(images, speech, labels, t.gamma)
        of_image, of_speech = (F.cross_entropy(self.networks["classifier"](e), labels) for e in (images, speech))
        loss = t.lambda_matching * (to_speech + to_images_) + t.lambda_classes * (of_image + of_speech)
        step_optimizers(loss, self.optimizers["encoder"])
        right = labels[(speech @ images.T).argmax(1)] == labels
        return {"matching": to_speech + to_images_, "classes": of_image + of_speech, "right": right.float().mean()}

    def _embeddings(self, pixels: Tensor, condition: SpeechCondition) -> tuple[Tensor, Tensor]:
        padding = self.settings.sizes.frame_padding
        heard = [speech_features(waveform, condition.rate, padding) for waveform in condition.waveforms]
        features, lengths = padded(heard)
        with torch.no_grad():
            seen = self.image_network(to_images(pixels, self.device))
        return self.networks["image"](seen), self.networks["speech"](features.to(self.device), lengths)

    def encoder(self) -> SpeechEncoder:
        """Return the encoder as it is now: frozen copies of its networks."""
        speech, image, classifier = (copy.deepcopy(self.networks[name]) for name in ("speech", "image", "classifier"))
        assert isinstance(speech, SpeechNetwork) and isinstance(image, ImageHead) and isinstance(classifier, Classifier)
        return SpeechEncoder(self.settings.sizes, speech, image, classifier, self.image_network).to(self.device)

    def ema_decay(self, step: int) -> float:
        """Return 0: there are no averages."""
        return 0.0

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Eight training images, and below each the one of them that its utterance is nearest to."""
        torch.manual_seed(0)
        pixels, condition, _ = self.data.draw(min(SHOWN, len(self.data.index)))
        training = [network for network in self.networks.values() if network.training]
        for network in training:
            network.eval()
        images, speech = self._embeddings(pixels, condition)
        for network in training:
            network.train()
        shown = to_images(pixels, torch.device("cpu"))
        return torch.cat([shown, shown[(speech @ images.T).argmax(1).cpu()]]), len(shown)

    def scalars(self) -> dict[str, float]:
        """Return nothing: all state is in tensors."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Take back nothing."""
