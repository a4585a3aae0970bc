"""A speech encoder as a whole: embeddings of utterances and images, and its file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdx2i.encoders.speech.features import BANDS, speech_features
from kdx2i.encoders.speech.image_networks import build_image_network, image_dimension
from kdx2i.encoders.speech.networks import Classifier, ImageHead, SpeechNetwork
from kdx2i.encoders.speech.settings import SpeechEncoderSizes
from kdx2i.encoders.storing import stored
from kdx2i.errors import UserError
from kdx2i.foreign import refusing
from kdx2i.metrics.network_file import read_network
from kdx2i.tasks.conditions import SpeechCondition
from kdx2i.training.checkpoint import prefixed, save_tensors, select

FORMAT = "kdx2i-speech-encoder-1"
_KEPT = 50_000  # embeddings, of 4 KB each at the published size
_PARTS = ("speech", "image", "classifier")


@dataclass(eq=False)
class SpeechEncoder:
    """Frozen networks in evaluation mode: speech and images in one space of embeddings [B, C] of unit length.

    `image_network` is None where images are never asked for. `classifier` has the logits of the training classes.
    """

    sizes: SpeechEncoderSizes
    speech: SpeechNetwork
    image: ImageHead
    classifier: Classifier
    image_network: nn.Module | None = None
    _kept: dict[bytes, Tensor] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        """The device of its networks."""
        return self.image.L1.weight.device

    def to(self, device: torch.device) -> "SpeechEncoder":
        """Move the networks to a device, frozen and in evaluation mode."""
        for network in (self.speech, self.image, self.classifier, self.image_network):
            if network is not None:
                network.to(device).eval().requires_grad_(False)
        return self

    @torch.no_grad()
    def embed_speech(self, condition: SpeechCondition) -> Tensor:
        """Return the embeddings [B, C] of B waveforms (N,) of any lengths; each is encoded alone, without padding.

        Training asks for the same utterances again: what was computed is kept. `UserError` for another rate than
        22,050 Hz and for less than 0.15 s.
        """
        return torch.stack([self._embedding(waveform, condition.rate) for waveform in condition.waveforms])

    def _embedding(self, waveform: Tensor, rate: int) -> Tensor:
        key = hashlib.sha256(f"{rate} ".encode() + waveform.detach().cpu().contiguous().numpy().tobytes()).digest()
        if key not in self._kept:
            features = speech_features(waveform.to(self.device), rate, self.sizes.frame_padding)
            embedding: Tensor = self.speech(features[None], torch.tensor([len(features)]))[0]
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = embedding
        return self._kept[key]

    def embed_images(self, images: Tensor) -> Tensor:
        """Return the embeddings [B, C] of images [B, 3, H, W] in [-1, 1]; gradients reach the images.

        `RuntimeError` for an encoder that was loaded without its image network.
        """
        if self.image_network is None:
            raise RuntimeError("this speech encoder was loaded without its image network")
        embeddings: Tensor = self.image(self.image_network(images))
        return embeddings

    def save(self, path: Path, metadata: Mapping[str, Any] | None = None, dtype: torch.dtype = torch.float32) -> None:
        """Write it without its image network as safetensors, atomically, with weights in `dtype`.

        `metadata` (JSON values) is kept beside.
        """
        networks = (self.speech, self.image, self.classifier)
        tensors = {
            name: tensor
            for part, network in zip(_PARTS, networks, strict=True)
            for name, tensor in prefixed(part, network.state_dict()).items()
        }
        header = {**(metadata or {}), "format": FORMAT, "sizes": self.sizes.model_dump(mode="json")}
        save_tensors(path, stored(tensors, dtype), header)


def load_speech_encoder(
    path: Path, device: torch.device, *, images: bool = False, image_weights: str | None = None
) -> SpeechEncoder:
    """Return the encoder that `SpeechEncoder.save` wrote, with its image network where `images` is set.

    `UserError` for a file that is missing, damaged or no speech encoder, and for an image network whose weights (file
    `image_weights`, else where they are published) are absent.
    """
    if not path.is_file():
        raise UserError(f"the speech encoder {path} does not exist: train one, or import S2IGAN's")
    tensors, metadata = read_network(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path} is no speech encoder")
    with refusing(f"{path} is not a readable speech encoder"):
        sizes = SpeechEncoderSizes.model_validate(metadata.get("sizes"))
    parts = {part: select(tensors, part) for part in _PARTS}
    encoder = assemble(parts, sizes, str(path))
    if images:
        encoder.image_network = build_image_network(sizes.image_network, image_weights, device)
    return encoder.to(device)


def assemble(parts: Mapping[str, Mapping[str, Tensor]], sizes: SpeechEncoderSizes, where: str) -> SpeechEncoder:
    """Return the encoder of the state dicts `speech`, `image` and `classifier`, with their published keys.

    Nothing is built that the tensors do not fill: `UserError`, which begins with `where`, for others than `sizes` say.
    """
    try:
        classes = parts["classifier"]["L1.bias"].shape[0]
    except (KeyError, IndexError):
        raise UserError(f"{where} does not hold the three networks of a speech encoder") from None
    arguments: dict[str, tuple[type[nn.Module], tuple[Any, ...]]] = {
        "speech": (SpeechNetwork, (sizes, BANDS)),
        "image": (ImageHead, (image_dimension(sizes.image_network), sizes.embedding)),
        "classifier": (Classifier, (sizes.embedding, classes)),
    }
    networks: dict[str, Any] = {}
    for part, (kind, given) in arguments.items():
        with torch.device("meta"):
            expected = {name: tensor.shape for name, tensor in kind(*given).state_dict().items()}
        if expected != {name: tensor.shape for name, tensor in parts[part].items()}:
            raise UserError(f"{where}: the network `{part}` has other tensors than its sizes say")
        networks[part] = kind(*given)
        with refusing(f"{where}: the network `{part}` cannot be read"):
            networks[part].load_state_dict(dict(parts[part]))
    return SpeechEncoder(sizes, networks["speech"], networks["image"], networks["classifier"])
