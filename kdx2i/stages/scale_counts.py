"""What one iteration of a training computes and keeps, counted on the meta device: no weights, no data, no GPU."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from kdx2i.methods.build import build_method
from kdx2i.methods.catalogue import architectures
from kdx2i.plan.specs import RunSpec
from kdx2i.training.loop import Trainable
from kdx2i.training.sampling import BalancedImages

META = torch.device("meta")
CLASSES = 149
"""Those of Animal Faces; what an iteration computes hardly depends on their number."""
COUNTED = ("dmit", "drit_pp", "sdit", "stargan_v2")
PERIOD = 5
"""Iterations over which the mean is taken where not every one updates the generator."""


@dataclass(frozen=True)
class Counts:
    """Of a training: FLOP of an iteration, bytes of the published weights and of a checkpoint (float32)."""

    flop: float
    weights: int
    checkpoint: int


class _Flop(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up PyTorch's own formulas of products and convolutions, forwards and backwards.

    PyTorch's `FlopCounterMode` follows modules as well, which gradients within gradients (R1) do not allow.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def run_counts(spec: RunSpec) -> Counts | None:
    """Return the counts of the last iterations of an image-to-image run.

    None for what is not counted: other tasks need conditions, the methods on BigGAN and StyleGAN have not been tried.
    """
    if spec.architecture not in COUNTED:
        return None
    side = spec.resolution
    labels = torch.arange(2 * CLASSES) // 2
    images = BalancedImages(lambda i: torch.zeros(len(i), 3, side, side, dtype=torch.uint8), labels, CLASSES, META)
    settings = {"networks": spec.networks, "train": spec.train}
    iterations = int(str(spec.train["iterations"]))
    updates = architectures()[spec.architecture].generator_updates(spec.train)
    method = build_method(spec.architecture, settings, side, CLASSES, META, images)
    return counts(method, iterations, 1 if updates == iterations else PERIOD)


def counts(trained: Trainable, iterations: int, steps: int) -> Counts:
    """Return what the last `steps` of a training on the meta device take on average, and what it keeps."""
    with _Flop() as flop:
        for step in range(iterations - steps, iterations):
            trained.training_step(step)
    tensors: list[Tensor] = []
    for module in (*trained.networks.values(), *trained.averages.values()):
        tensors += [*module.parameters(), *module.buffers()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    states = [value for o in trained.optimizers.values() for state in o.state.values() for value in state.values()]
    moments = sum(value.numel() * value.element_size() for value in states if isinstance(value, Tensor))
    return Counts(flop.total / steps, weights, weights + moments)
