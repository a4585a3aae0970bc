"""Feature extractors by name, and features of many images in bounded memory."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from kdx2i.errors import UserError
from kdx2i.files import sha256_file, sha256_json, write_bytes
from kdx2i.metrics import networks, preprocess
from kdx2i.metrics.networks import LIBRARY_NAMES, NETWORKS, ImageFeatures
from kdx2i.metrics.settings import EvaluationSettings

_CUDA_CHUNK = 64


@dataclass(frozen=True)
class Extractor:
    """A feature network with one layer chosen: uint8 (B, 3, H, W) in, float32 (B, dimension) out.

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

    @property
    def identity(self) -> str:
        """Return the SHA-256 of the description: what the features mean, on any machine."""
        return sha256_json(self.describe())

    @property
    def key(self) -> str:
        """Return the SHA-256 of the description, the code behind it and what rounds its sums."""
        code = [sha256_file(Path(source)) for source in (networks.__file__, preprocess.__file__)]
        machine = {"torch": torch.__version__, "device": self.device.type}
        return sha256_json({**self.describe(), **machine, "code": code})

    def describe(self) -> dict[str, Any]:
        """Return what a provenance file records of the extractor."""
        return {
            "extractor": self.name,
            "extractor_sha256": self.weights_sha256,
            "layer": self.layer,
            "preprocessing": self.preprocessing,
            "input_size": self.input_size,
        }

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 (B, dimension) on the extractor's device for uint8 images (B, 3, H, W)."""
        exact: AbstractContextManager[Any] = nullcontext()
        if self.device.type == "cuda":
            exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.no_grad(), exact:
            (features,) = self.module(images.to(self.device))
        return features.float()  # type: ignore[no-any-return]


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
    preprocessing: Literal["clean", "tf1"] = "clean",
    input_size: int | None = None,
) -> Extractor:
    """Return the extractor called `name` with verified weights on `device`.

    `inception-v3-compat` (2048-d) and `efficientnet-lite0` (1280-d) are this package's; any other class
    registered with torch-fidelity's `register_feature_extractor` works by its name, with its own resize and
    weights. torch-fidelity's remaining built-in ones run code from files they download, so they are refused.
    Raises `UserError` for those, for unknown names and for missing or wrong weights.
    """
    place = torch.device(device)
    if name in NETWORKS:
        kind = NETWORKS[name]
        own = kind(
            name,
            [kind.feature_layer],
            preprocessing=preprocessing,
            input_size=input_size,
            feature_extractor_weights_path=weights_path,
            chunk=_CUDA_CHUNK if place.type == "cuda" else 16,
        ).to(place)
        return Extractor(
            name, kind.feature_layer, kind.dimensions[kind.feature_layer], kind.sha256,
            preprocessing, own.input_size, place, own,
        )  # fmt: skip
    if name in LIBRARY_NAMES or name not in FEATURE_EXTRACTORS_REGISTRY:
        known = sorted({*NETWORKS, *FEATURE_EXTRACTORS_REGISTRY} - (LIBRARY_NAMES - set(NETWORKS)))
        raise UserError(f"feature extractor {name!r} is not available, choose one of: {', '.join(known)}")
    cls = FEATURE_EXTRACTORS_REGISTRY[name]
    layer = cls.get_default_feature_layer_for_metric("fid")
    module: nn.Module = cls(name, [layer], feature_extractor_weights_path=weights_path)
    module.to(place).eval().requires_grad_(False)
    with torch.no_grad():
        dimension = module(torch.zeros(1, 3, 64, 64, dtype=torch.uint8, device=place))[0].shape[1]
    size = module.input_size if isinstance(module, ImageFeatures) else None
    resize = module.preprocessing if isinstance(module, ImageFeatures) else "own"
    return Extractor(name, layer, dimension, _state_sha256(module), resize, size, place, module)


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
    chunk = extractor.module.chunk if isinstance(extractor.module, ImageFeatures) else 1
    batch = -(-batch // chunk) * chunk
    found = [extractor(part[start : start + batch]).cpu() for part in parts for start in range(0, part.shape[0], batch)]
    return torch.cat(found) if found else torch.zeros(0, extractor.dimension)


def images_sha256(images: Tensor) -> str:
    """Return the SHA-256 over shape and bytes of a uint8 image set (N, 3, H, W)."""
    digest = hashlib.sha256(repr(tuple(images.shape)).encode())
    digest.update(images.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def extract_cached(extractor: Extractor, images: Tensor, cache_dir: Path | None, batch: int = 64) -> Tensor:
    """Return `extract(extractor, images, batch)`, kept in `cache_dir` under the hash of images and extractor.

    The entry is a safetensors file, written atomically; one that is unreadable or of another shape is made
    again. None as `cache_dir` keeps nothing.
    """
    if cache_dir is None:
        return extract(extractor, images, batch)
    path = cache_dir / f"{sha256_json([extractor.key, images_sha256(images)])}.safetensors"
    if path.is_file():
        try:
            features = load(path.read_bytes()).get("features")
        except (SafetensorError, OSError):
            features = None
        if features is not None and features.shape == (images.shape[0], extractor.dimension):
            return features
    features = extract(extractor, images, batch)
    write_bytes(path, save({"features": features.contiguous()}))
    return features
