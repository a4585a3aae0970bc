"""Files of networks that a preset names, looked at before anything is run: their headers alone. Torch-free."""

from functools import lru_cache
from pathlib import Path

from kdx2i.foreign import check_network, tensor_metadata


@lru_cache(maxsize=256)
def require_network(path: Path, _sha256: str) -> None:
    """Raise `UserError` unless a file is a safetensors file whose networks could lie in it.

    Sizes that a file merely states would otherwise decide how long a job builds networks before it compares them with
    the tensors. The file's SHA-256 only tells one file at a path from the next.
    """
    check_network(tensor_metadata(path), path)
