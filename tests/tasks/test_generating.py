"""Images that are asked for are made a batch at a time, and held in memory only up to the limit."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdx2i.data import images as images_module
from kdx2i.tasks.scoring.base import generate


@dataclass(frozen=True)
class Asked:
    """Requests whose condition is their number."""

    labels: Tensor

    def condition(self, part: slice, device: torch.device) -> Tensor:
        return self.labels[part].to(device)


class Grey:
    """A model that draws its condition as a level of grey, 16 px, and notes how many images it drew at once."""

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def generate(self, condition: Tensor) -> Tensor:
        self.drawn.append(len(condition))
        return ((condition % 256) / 127.5 - 1)[:, None, None, None].expand(-1, 3, 16, 16)


@pytest.mark.parametrize("limit", [0, 2**31])
def test_they_are_made_in_batches_and_mapped_above_the_limit(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    mapped: list[tuple[int, ...]] = []

    def memmap(*words: Any, shape: tuple[int, ...]) -> Any:
        mapped.append(shape)
        return np.memmap(*words, shape=shape)

    monkeypatch.setattr(images_module, "CACHE_BYTES", limit)
    monkeypatch.setattr(images_module, "np", SimpleNamespace(memmap=memmap, uint8=np.uint8))
    model = Grey()
    images = generate(model, Asked(torch.arange(700)), 256, torch.device("cpu"))  # type: ignore[arg-type]
    assert model.drawn == [256, 256, 188]
    assert images.dtype == torch.uint8 and torch.equal(images[:, 0, 0, 0], (torch.arange(700) % 256).byte())
    # Mapped pages are no memory of the process (tests/data/test_images.py).
    assert mapped == ([(700, 3, 16, 16)] if limit == 0 else [])
