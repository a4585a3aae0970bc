"""Reference statistics in a `.npz`: those of pytorch-fid and clean-fid, and the suite's own, which serve both too.

| key | what | who writes it |
| --- | --- | --- |
| `mu` (d,), `sigma` (d, d) | mean and covariance (n - 1) of the features | pytorch-fid, clean-fid, kdx2i |
| `feats` (n, d) | the features | clean-fid (`..._kid.npz`), kdx2i |
| `labels` (n,), `kdx2i` | class numbers; JSON: network, preprocessing, classes, contents | kdx2i |
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdx2i import bounds
from kdx2i.errors import UserError
from kdx2i.files import replacing
from kdx2i.foreign import open_plain, parse_json, refusing
from kdx2i.metrics.distances.frechet import Gaussian
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.images.embedding import Embedding
from kdx2i.metrics.images.listing import LeftOut, Listing
from kdx2i.metrics.images.streams import ImageFiles

KEYS = ("mu", "sigma", "feats", "labels", "kdx2i")
UNSTATED = "unstated"
"""The remark of a file that does not say which network and resize its numbers are of."""
ONLY_MOMENTS = "the reference file has no features, but their mean and covariance only"
_NEGATIVE = 1e-6  # share of the largest eigenvalue: what rounding leaves of a covariance in single precision


@dataclass(frozen=True)
class Statistics:
    """What a file holds: features float32 (n, d), or without them mean (d,) and covariance (d, d) in float64.

    It stands in the place of the reference images: `labels` int64 (n,) index `classes`. `stated` says how an own file
    was made; empty for those of other libraries, which do not.
    """

    path: Path
    mu: Tensor | None
    sigma: Tensor | None
    features: Tensor | None
    labels: Tensor
    classes: list[str] = field(default_factory=list)
    stated: Mapping[str, Any] = field(default_factory=dict)
    remarks: dict[str, set[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def source(self) -> str:
        """The place as the user gave it."""
        return str(self.path)

    @property
    def listing(self) -> Listing:
        """No files."""
        return Listing(self.path, [], self.classes, [], LeftOut([]), "", {})

    @property
    def dimension(self) -> int:
        """The number of features of an image."""
        held = self.features if self.features is not None else self.mu
        assert held is not None
        return held.shape[-1]

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Refuse: there are no images."""
        raise UserError(f"{self.path} holds statistics, and the metric needs the reference images themselves")

    def embedded(self) -> EmbeddedSet:
        """Return the features; without them 2 d points in float64 that have the mean and covariance exactly."""
        if self.features is not None:
            return EmbeddedSet(self, self.labels, self.features)
        assert self.mu is not None and self.sigma is not None
        values, vectors = torch.linalg.eigh(self.sigma)
        count = 2 * len(values)
        arms = (values.clamp(min=0) * (count - 1) / 2).sqrt()[:, None] * vectors.T
        points = torch.cat([self.mu + arms, self.mu - arms])
        return EmbeddedSet(self, torch.zeros(count, dtype=torch.int64), points)

    def check(self, extractor: Extractor) -> None:
        """Raise `UserError` where the features are not those of the extractor, as far as the file says."""
        if self.dimension != extractor.dimension:
            raise UserError(
                f"{self.path} has {self.dimension} features an image, and {extractor.name} gives {extractor.dimension}"
            )
        own = extractor.describe()
        for key in ("extractor", "extractor_sha256", "preprocessing", "input_size"):
            if self.stated and self.stated.get(key) != own[key]:
                raise UserError(
                    f"{self.path} was made with {key} {self.stated.get(key)}, and {own[key]} is asked for: use the same"
                )


def read_statistics(path: Path) -> Statistics:
    """Read a file of statistics, as numbers only; `UserError` for one that is damaged, too large or none."""
    held = _arrays(path)
    mu, sigma, feats = (held.get(key) for key in KEYS[:3])
    if feats is None and (mu is None or sigma is None):
        raise UserError(f"{path} holds no statistics: it needs `mu` and `sigma` (pytorch-fid) or `feats` (clean-fid)")
    shaped = [(mu, 1), (sigma, 2), (feats, 2)]
    if any(array is not None and (array.ndim != n or array.dtype.kind != "f") for array, n in shaped):
        raise UserError(f"{path} holds no statistics: `mu` is a vector, `sigma` and `feats` are matrices of numbers")
    if any(array is not None and not np.isfinite(array).all() for array in (mu, sigma, feats)):
        raise UserError(f"{path} is damaged: it holds values that are not finite")
    if feats is not None:
        stated = _stated(held, path)
        labels = held.get("labels", np.zeros(len(feats), dtype=np.int64))
        classes = stated.get("classes", [])
        if labels.shape != (len(feats),) or labels.dtype.kind != "i" or not _indexes(labels, max(len(classes), 1)):
            raise UserError(f"{path} is damaged: its labels do not number its classes")
        features = torch.from_numpy(feats.astype(np.float32))
        return Statistics(path, None, None, features, torch.from_numpy(labels.astype(np.int64)), classes, stated)
    assert mu is not None and sigma is not None
    if sigma.shape != (len(mu), len(mu)) or not np.allclose(sigma, sigma.T, rtol=1e-4, atol=1e-6 * abs(sigma).max()):
        raise UserError(f"{path} is damaged: `sigma` is no covariance of the features that `mu` is the mean of")
    symmetric = torch.from_numpy(sigma.astype(np.float64))
    symmetric = (symmetric + symmetric.T) / 2
    values = torch.linalg.eigvalsh(symmetric)
    if float(values[0]) < -_NEGATIVE * max(float(values[-1]), 1e-300):
        raise UserError(f"{path} is damaged: `sigma` has a negative eigenvalue, which no covariance has")
    labels = np.zeros(2 * len(mu), dtype=np.int64)
    return Statistics(path, torch.from_numpy(mu.astype(np.float64)), symmetric, None, torch.from_numpy(labels))


def _indexes(labels: np.ndarray, count: int) -> bool:
    return bool(len(labels)) and int(labels.min()) >= 0 and int(labels.max()) < count


def _stated(held: Mapping[str, np.ndarray], path: Path) -> dict[str, Any]:
    """Return what an own file says of itself; nothing for those of other libraries."""
    if "kdx2i" not in held:
        return {}
    stated = parse_json(held["kdx2i"].tobytes(), f"{path} has a description that cannot be read")
    classes = stated.get("classes") if isinstance(stated, dict) else None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{path} has a description that cannot be read: it names no classes")
    result: dict[str, Any] = stated
    return result


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the known arrays of a file: plain numbers, no larger than the file may unpack to."""
    held: dict[str, np.ndarray] = {}
    with refusing(f"{path} is not a whole .npz file"), open_plain(path) as handle, zipfile.ZipFile(handle) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name not in KEYS or name in held:
                continue
            ratio = max(bounds.RATIO_FROM, bounds.UNPACKED_RATIO * info.compress_size)
            if info.file_size > min(bounds.WEIGHTS_BYTES, ratio):
                raise UserError(f"{path} is refused: `{name}` unpacks to {info.file_size} bytes")
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, order, dtype = read(member)
                if dtype.hasobject or dtype.kind not in "fiu" or len(shape) > 2:
                    raise ValueError(f"`{name}` is no array of numbers")
                data = member.read(info.file_size)
            flat = np.frombuffer(data, dtype)
            held[name] = flat.reshape(shape, order="F" if order else "C")
    return held


def write_statistics(path: Path, images: ImageFiles, embedding: Embedding, extractor: Extractor) -> None:
    """Write the statistics of images, so that pytorch-fid and clean-fid read them too.

    `UserError` for fewer than two images.
    """
    if len(images) < 2:
        raise UserError("statistics need two reference images or more")
    fitted = Gaussian.fit(embedding.features)
    stated = {**extractor.describe(), "classes": images.classes, "content_sha256": embedding.content_sha256}
    arrays = {
        "mu": fitted.origin + fitted.shift,
        "sigma": fitted.covariance(),
        "feats": embedding.features[0 : len(images)].numpy(),
        "labels": images.labels.numpy(),
        "kdx2i": np.frombuffer(json.dumps(stated, sort_keys=True).encode(), np.uint8),
    }
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]
