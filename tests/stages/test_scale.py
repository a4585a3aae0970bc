"""What an iteration computes and keeps, counted without computing it."""

import torch
from torch import nn

from kdx2i.stages.scale import MEASURED, MEMORY
from kdx2i.stages.scale_counts import COUNTED, counts, run_counts
from kdx2i.suite import make_plan
from tests.support.repository import ROOT


class Linear:
    """A product of 4 by 3 numbers, its gradient for the weight, and Adam's two moments."""

    def __init__(self) -> None:
        self.networks = {"net": nn.Linear(3, 2, bias=False, device="meta")}
        self.averages = {"net": nn.Linear(3, 2, bias=False, device="meta")}
        self.optimizers = {"net": torch.optim.Adam(self.networks["net"].parameters())}

    def training_step(self, step: int) -> dict[str, torch.Tensor]:
        loss = self.networks["net"](torch.zeros(4, 3, device="meta")).sum()
        loss.backward()
        self.optimizers["net"].step()
        return {"loss": loss}


def test_products_are_counted_forwards_and_backwards():
    found = counts(Linear(), 10, 2)
    assert found.flop == 2 * (2 * 4 * 3 * 2)
    assert found.weights == 2 * 6 * 4
    assert found.checkpoint - found.weights in (2 * 6 * 4, 2 * 6 * 4 + 4), "two moments, and perhaps a step"


def test_what_is_not_counted_says_so_and_a_small_preset_is():
    plan = make_plan(ROOT, "open-smoke")
    spec = plan.run("open-birds", "stargan_v2", "scratch", 32, 0).spec
    found = run_counts(spec)
    assert found is not None and found.flop > 0 and found.weights < found.checkpoint
    assert "deepi2i" not in COUNTED


def test_the_measured_iteration_is_the_one_of_the_page_on_speed():
    page = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    assert f"| TF32 | {1000 * MEASURED[2]:.0f} | {MEMORY} |" in page
