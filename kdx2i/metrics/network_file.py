"""Networks that score, as files: tensors and what the file says of them, bounded before they are read."""

from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from kdx2i.foreign import refusing, tensor_metadata


def read_network(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a safetensors file by name, and its metadata (a JSON object).

    `UserError` for a file that is missing, no plain file, damaged or not what its header says.
    """
    metadata = tensor_metadata(path)
    with refusing(f"{path} is not a whole safetensors file"), safe_open(str(path), framework="pt") as handle:
        return {name: handle.get_tensor(name) for name in handle.keys()}, metadata  # noqa: SIM118
