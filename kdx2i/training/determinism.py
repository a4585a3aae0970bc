"""Randomness as a function of (seed, purpose, step), so that a resumed run needs no generator state."""

import hashlib
import os
from pathlib import Path

import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose of one run, e.g. ``derive_seed(0, "step", 17)``."""
    text = ":".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU generator seeded for one purpose."""
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


def seed_step(seed: int, step: int) -> None:
    """Seed torch's global generators (CPU and CUDA) for one training step, alike on every rank."""
    torch.manual_seed(derive_seed(seed, "step", step))


def make_deterministic() -> None:
    """Ask torch for deterministic kernels and fix the number of threads that a result may depend on.

    Sums are split by thread, so the same job must run with the same number of threads to end in the same
    bytes: OMP_NUM_THREADS, which the workflow sets for each rule, else one.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As use_deterministic_algorithms(True, warn_only=True) but for that one's import of PyTorch's compiler.
    torch.set_deterministic_debug_mode("warn")
    # With it torch fills every new tensor before its kernel writes it, to make bugs visible: a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1") or 1)))


def pick_device() -> torch.device:
    """Return the CUDA device of this process (LOCAL_RANK under torchrun), or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def describe_device(device: torch.device) -> str:
    """Return the device's name for provenance, e.g. "cpu: AMD EPYC" or "cuda: NVIDIA A100"."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.split(":", 1)[1].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    return f"cpu: {names[0] if names else 'unknown'}"
