"""Reading a student's file: alone, so that no run depends on the code that distils or measures."""

from pathlib import Path

from torch import Tensor

from kdx2i.training.checkpoint import load_tensors


def student_tensors(path: Path) -> dict[str, Tensor]:
    """Read a student's file, in single precision whatever it is stored in (shipped ones: half)."""
    tensors, _ = load_tensors(path)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
