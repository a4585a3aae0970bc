"""Speed of one StarGAN v2 training iteration on a GPU, at full width: number formats and layouts of this suite against
the straightforward formulation.

    python benchmarks/speed/gpu_step.py --preset paper --resolution 256 --repeats 10

Every variant starts from the same weights with the same random numbers. With `--device cpu` and a small preset the
script can be tried anywhere; its figures mean something on a GPU alone.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from common import middle, report, use_threads


def command_line() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--classes", type=int, default=149, help="domains: the published Animal Faces has 149")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


def main() -> None:
    """Measure every variant, compare the losses, print and write."""
    arguments = command_line()
    use_threads(1)

    import torch

    from kdx2i.training.determinism import describe_device

    device = torch.device(arguments.device)
    make, batch = maker(arguments, device)
    rows: list[dict[str, Any]] = []
    losses: dict[str, Mapping[str, float]] = {}
    for name, (tensor_cores, variant) in variants(make).items():
        # TensorFloat-32 of convolutions and products; PyTorch's own default has it on for convolutions alone.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tensor_cores
        seconds, losses[name], peak = measured(variant(), arguments.repeats, device)
        rows.append({"what": name, "ms": 1000 * middle(seconds), "GiB": peak})
    slowest = rows[0]["ms"]
    for row in rows:
        row["times faster"] = slowest / row["ms"]
        row["largest difference of a loss"] = max(
            abs(losses[row["what"]][key] - value) / max(abs(value), 1e-3) for key, value in losses["float32"].items()
        )
    place = f"{arguments.resolution} px, {arguments.classes} domains, batch {batch}, {describe_device(device)}"
    report(f"One iteration of StarGAN v2 at {place}", rows, arguments.json)


def maker(arguments: argparse.Namespace, device: Any) -> tuple[Callable[..., Any], int]:
    """Return what makes the method at a precision and in a memory format, always from the same start, and the batch."""
    import torch

    from kdx2i.config import find_root
    from kdx2i.methods.base import MethodSetup
    from kdx2i.methods.stargan_v2.method import Method
    from kdx2i.methods.stargan_v2.settings import Settings
    from kdx2i.suite import make_plan
    from kdx2i.training.sampling import BalancedImages

    side, classes = arguments.resolution, arguments.classes
    of_preset = make_plan(find_root(), arguments.preset).settings("stargan_v2", side)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (4 * classes, 3, side, side), dtype=torch.uint8)

    def make(precision: str = "float32", layout: Any = torch.channels_last) -> Any:
        settings = Settings(networks=of_preset["networks"], train={**of_preset["train"], "precision": precision})
        sampler = BalancedImages(lambda i: images[i], torch.arange(4 * classes) // 4, classes, device)
        torch.manual_seed(0)
        made = Method(MethodSetup(settings, side, classes, device, sampler))
        for network in (*made.networks.values(), *made.averages.values()):
            network.to(memory_format=layout)
        return made

    return make, of_preset["train"]["batch"]


def variants(make: Callable[..., Any]) -> dict[str, tuple[bool, Callable[[], Any]]]:
    """Return by name whether TensorFloat-32 is on, and what makes the trained thing."""
    import torch
    from stargan_step import Straightforward

    return {
        "straightforward, float32": (False, lambda: Straightforward(make())),
        "straightforward, TF32": (True, lambda: Straightforward(make())),
        "float32": (False, make),
        "TF32": (True, make),
        "TF32, contiguous": (True, lambda: make(layout=torch.contiguous_format)),
        "bfloat16": (True, lambda: make("bfloat16")),
    }


def measured(trained: Any, repeats: int, device: Any) -> tuple[list[float], Mapping[str, float], float | None]:
    """Return the seconds of `repeats` iterations, the losses of one at a rate of zero, and the peak GiB of the GPU."""
    import torch
    from stargan_step import held

    from kdx2i.training.loop import update_averages

    average = getattr(trained, "update_averages", None) or partial(update_averages, trained)

    def step(number: int) -> dict[str, float]:
        torch.manual_seed(number)
        values = trained.training_step(number)
        average(0.999)
        return {key: float(value.detach()) for key, value in values.items()}

    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    with held(trained.optimizers):
        losses = step(1)
    seconds = [_timed(step, number, device) for number in range(2, 4 + repeats)][2:]
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    return seconds, losses, peak


def _timed(step: Callable[[int], Any], number: int, device: Any) -> float:
    """Return the wall seconds of a step whose work the device has ended."""
    import torch

    start = time.perf_counter()
    step(number)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
