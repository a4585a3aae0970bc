"""Feature extractors by name, and features of many images in bounded memory."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.files import sha256_file, sha256_json
from kdx2i.metrics.extractors import drawings, inception, lite0, networks, preprocessing, resize
from kdx2i.metrics.extractors.networks import NETWORKS, ImageFeatures
from kdx2i.metrics.extractors.weights import DOWNLOADS
from kdx2i.metrics.settings import EvaluationSettings

_BATCH, _CUDA_BATCH = 16, 64


@dataclass(frozen=True)
class Extractor:
    """A feature network with one layer chosen: uint8 (B, 3, H, W) in, float32 (B, dimension) out.

    Where the network is a classifier, `classes` numbers of its layer `logits_layer` (unbiased logits, as the
    Inception Score wants them) come from the same forward pass.

    `identity` is the hash of what the features mean; `key` adds all else that decides their bits besides the
    image, so it can name a cache entry.
    """

    name: str
    layer: str
    dimension: int
    weights_sha256: str
    preprocessing: str
    input_size: int | None
    device: torch.device
    module: nn.Module
    logits_layer: str | None = None
    classes: int = 0
    mixed: bool = False
    image_size: int | None = None

    @property
    def batch(self) -> int:
        """Return the number of images that the network runs on at a time, the same always."""
        return self.module.chunk if isinstance(self.module, ImageFeatures) else _BATCH

    @property
    def identity(self) -> str:
        """Return the SHA-256 of the description: what the features mean, on any machine."""
        return sha256_json(self.describe())

    @property
    def key(self) -> str:
        """Return the SHA-256 of the description, the code behind it and what rounds its sums."""
        modules = (networks, drawings, inception, lite0, preprocessing, resize)
        sources = [module.__file__ for module in modules]
        code = [sha256_file(Path(str(source))) for source in sources]
        machine = {"torch": torch.__version__, "device": self.device.type, "batch": self.batch}
        return sha256_json({**self.describe(), **machine, "code": code})

    def describe(self) -> dict[str, Any]:
        """Return what a provenance file records of the extractor."""
        return {
            "extractor": self.name,
            "extractor_sha256": self.weights_sha256,
            "layer": self.layer,
            "preprocessing": self.preprocessing,
            "input_size": self.input_size,
            **({"precision": "mixed"} if self.mixed else {}),
            **({"image_size": self.image_size} if self.image_size is not None else {}),
        }

    def __call__(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Return float32 (B, dimension) on the extractor's device for uint8 images (B, 3, H, W)."""
        return self.outputs(images)[0]

    def outputs(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return features (B, dimension) and logits (B, classes), None without a `logits_layer`, both float32.

        Images are uint8 (B, 3, H, W), or B of (3, H, W) of any sizes. No value depends on the other images.
        """
        exact: AbstractContextManager[Any] = nullcontext()
        if self.device.type == "cuda":
            exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        mixed = torch.autocast("cuda", torch.float16) if self.mixed else nullcontext()
        on_device = [image.to(self.device) for image in images]
        with torch.no_grad(), exact, mixed:
            layers = self.module(on_device) if isinstance(self.module, ImageFeatures) else self._by_size(on_device)
        features, *rest = (layer.float() for layer in layers)
        return features, rest[0] if rest else None

    def _by_size(self, images: list[Tensor]) -> tuple[Tensor, ...]:
        """Run a library's extractor on batches of `batch` images of one size, the last one filled up."""
        layers = [torch.zeros(len(images), count) for count in (self.dimension, self.classes) if count]
        sizes = [tuple(image.shape) for image in images]
        for size in dict.fromkeys(sizes):
            members = [position for position, other in enumerate(sizes) if other == size]
            for start in range(0, len(members), self.batch):
                part = members[start : start + self.batch]
                filled = part + part[-1:] * (self.batch - len(part))
                values_by_layer = self.module(torch.stack([images[position] for position in filled]))
                for layer, values in zip(layers, values_by_layer, strict=True):
                    layer[part] = values[: len(part)].float().cpu()
        return tuple(layers)


def _state_sha256(module: nn.Module) -> str:
    """Return the SHA-256 over the names, shapes and bytes of a module's state."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def build_extractor(
    name: str,
    *,
    weights_path: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    preprocessing: str = "clean",
    input_size: int | None = None,
    image_size: int | None = None,
    download: bool = False,
    mixed: bool = False,
) -> Extractor:
    """Return the extractor called `name` with verified weights on `device`.

    `inception-v3-compat` and `inception-v3-torchvision` (2048-d), `efficientnet-lite0` (1280-d) and `open-drawings`
    (128-d) are this package's; any other class registered with torch-fidelity's `register_feature_extractor` works by
    its name, with its own resize and weights. torch-fidelity's remaining built-in ones run code from files they
    download, so they are refused.
    `preprocessing` must be one of the network's own. `image_size` is the side of the generated images, to which
    StarGAN v2's evaluation brings all images first (None: they have it).
    `download` lets weights that are nowhere on this machine be downloaded (see `weights.download_inception`).
    `mixed` runs the network (not the resize) in float16 where CUDA's autocast does, another extractor by its
    identity: how far its features deviate has not been measured, so no protocol uses it.
    Raises `UserError` for those, for unknown names, for missing or wrong weights and for `mixed` without CUDA.
    """
    place = torch.device(device)
    if mixed and place.type != "cuda":
        raise UserError(f"mixed precision needs a CUDA device, not {place}: leave it out")
    if name in DOWNLOADS and download and weights_path is None:
        weights_path = DOWNLOADS[name]()
    if name in NETWORKS:
        kind = NETWORKS[name]
        logits = kind.get_default_feature_layer_for_metric("isc")
        own = kind(
            name,
            [kind.feature_layer, logits],
            preprocessing=preprocessing,
            input_size=input_size,
            image_size=image_size,
            feature_extractor_weights_path=weights_path,
            chunk=_CUDA_BATCH if place.type == "cuda" else _BATCH,
        ).to(place)
        return Extractor(
            name, kind.feature_layer, kind.dimensions[kind.feature_layer], own.sha256,
            preprocessing, own.input_size, place, own, logits, kind.dimensions[logits], mixed, own.image_size,
        )  # fmt: skip
    return _registered(name, weights_path, place, mixed)


def _registered(name: str, weights_path: str | os.PathLike[str] | None, place: torch.device, mixed: bool) -> Extractor:
    """Return an extractor of torch-fidelity's registry that is not one of this package's."""
    from kdx2i.metrics.extractors.fidelity import LIBRARY_NAMES, REGISTRY

    if name in LIBRARY_NAMES or name not in REGISTRY:
        known = sorted({*NETWORKS, *REGISTRY} - (LIBRARY_NAMES - set(NETWORKS)))
        raise UserError(f"feature extractor {name!r} is not available, choose one of: {', '.join(known)}")
    cls = REGISTRY[name]
    layers = [cls.get_default_feature_layer_for_metric("fid")]
    logits = cls.get_default_feature_layer_for_metric("isc")
    if logits in cls.get_provided_features_list() and logits not in layers:
        layers.append(logits)
    module: nn.Module = cls(name, layers, feature_extractor_weights_path=weights_path)
    module.to(place).eval().requires_grad_(False)
    with torch.no_grad():
        shapes = [layer.shape[1] for layer in module(torch.zeros(1, 3, 64, 64, dtype=torch.uint8, device=place))]
    size = module.input_size if isinstance(module, ImageFeatures) else None
    resize = module.preprocessing if isinstance(module, ImageFeatures) else "own"
    return Extractor(
        name, layers[0], shapes[0], _state_sha256(module), resize, size, place, module,
        logits_layer=logits if shapes[1:] else None, classes=sum(shapes[1:]), mixed=mixed,
    )  # fmt: skip


def extractor_from_settings(
    settings: EvaluationSettings,
    *,
    weights_path: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
) -> Extractor:
    """Return the extractor that the evaluation settings name; errors as in `build_extractor`."""
    return build_extractor(
        settings.extractor,
        weights_path=weights_path,
        device=device,
        preprocessing=settings.preprocessing,
        input_size=settings.input_size,
    )


def extract(extractor: Extractor, images: Tensor | Iterable[Tensor], batch: int = 64) -> Tensor:
    """Return the features of uint8 images as float32 (N, d) on the CPU.

    `images` is (N, 3, H, W) or an iterable of such parts (for sets that do not fit in memory). `batch` images,
    rounded up to the network's fixed batch, are on the device at a time; no value depends on it.
    """
    parts = (images,) if isinstance(images, Tensor) else images
    batch = -(-batch // extractor.batch) * extractor.batch
    features = [extractor(part[start : start + batch]).cpu() for part in parts for start in range(0, len(part), batch)]
    return torch.cat(features) if features else torch.zeros(0, extractor.dimension)
