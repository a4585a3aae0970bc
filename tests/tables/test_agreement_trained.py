"""The band on real trainings: an honest rerun passes, and a row whose objective lost a term is found.

StarGAN v2's objective trains networks of one hidden layer on pictures of 2 x 2 pixels. Another instruction set rounds
otherwise: here another machine starts a last bit apart.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdx2i.methods.families.stargan.losses import (
    Guidance,
    Networks,
    Weights,
    discriminator_loss,
    frozen,
    generator_loss,
)
from kdx2i.metrics.distances.classwise import classwise_distances
from kdx2i.tables.agreement import judged_cells, judged_rows
from kdx2i.tables.replicates import CellKey, Replicate
from kdx2i.tables.spread import by_cell

CLASSES, STYLE, PIXELS, HIDDEN = 3, 4, 12, 16
STEPS, BATCH, EACH = 20, 12, 16
ROWS = {"whole": Weights(reg=0.1, ds=0.5), "no diversity": Weights(reg=0.1, ds=0.0)}
DATA = (5,)


class Net(nn.Module):
    """One hidden layer; `heads` outputs of which a domain chooses one."""

    def __init__(self, inputs: int, outputs: int, heads: int = 1) -> None:
        super().__init__()
        self.outputs, self.heads = outputs, heads
        self.layers = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, outputs * heads))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        found = self.layers(x.flatten(1)).view(len(x), self.heads, self.outputs)
        return found[torch.arange(len(x)), 0 if y is None else y]


def build(seed: int, machine: int) -> dict[str, Net]:
    """Return the networks of a seed; those of another machine start a last bit apart."""
    torch.manual_seed(seed)
    nets = {
        "encode": Net(PIXELS, HIDDEN),
        "decode": Net(HIDDEN + STYLE, PIXELS),
        "mapping": Net(STYLE, STYLE, CLASSES),
        "style": Net(PIXELS, STYLE, CLASSES),
        "discriminator": Net(PIXELS, 1, CLASSES),
    }
    last_bit = 1 + machine * torch.finfo(torch.float32).eps
    with torch.no_grad():
        for net in nets.values():
            for parameter in net.parameters():
                parameter.mul_(last_bit)
    return nets


def callables(nets: dict[str, Net]) -> Networks:
    def decode(content: Tensor, style: Tensor) -> Tensor:
        return torch.tanh(nets["decode"](torch.cat([content, style], 1))).view(-1, 3, 2, 2)

    def judge(x: Tensor, y: Tensor) -> Tensor:
        return nets["discriminator"](x, y)[:, 0]

    return Networks(nets["encode"], decode, nets["mapping"], nets["style"], judge)


def pictures(data: int) -> tuple[Tensor, Tensor]:
    """Return pictures [N, 3, 2, 2] in [-1, 1] around a colour of each class, and the classes [N]."""
    drawn = torch.Generator().manual_seed(data)
    labels = torch.arange(CLASSES).repeat_interleave(EACH)
    colours = torch.rand(CLASSES, 3, 1, 1, generator=drawn) * 1.6 - 0.8
    return (colours[labels] + 0.15 * torch.randn(len(labels), 3, 2, 2, generator=drawn)).clamp(-1, 1), labels


def trained(weights: Weights, data: int, seed: int, machine: int) -> Networks:
    """Return the networks after some updates down StarGAN v2's objective."""
    images, labels = pictures(data)
    nets = build(seed, machine)
    networks = callables(nets)
    generating = [p for name, net in nets.items() if name != "discriminator" for p in net.parameters()]
    of_generator = torch.optim.Adam(generating, 0.02, betas=(0.0, 0.99))
    of_discriminator = torch.optim.Adam(nets["discriminator"].parameters(), 0.02, betas=(0.0, 0.99))
    for step in range(STEPS):
        drawn = torch.Generator().manual_seed(1000 * seed + step)
        source, other = (torch.randint(len(images), (BATCH,), generator=drawn) for _ in range(2))
        z, z2 = torch.randn(2, BATCH, STYLE, generator=drawn)
        x, y, guidance = images[source], labels[source], Guidance(labels[other], z=z, z2=z2)
        update(discriminator_loss(networks, x.clone(), y, guidance, weights)["total"], of_discriminator)
        with frozen(nets["discriminator"]):
            update(generator_loss(networks, x, y, guidance, weights)["total"], of_generator)
    return networks


def update(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@torch.no_grad()
def scores(networks: Networks, data: int) -> dict[str, float]:
    """Return the class-wise distances of pixels of latent-guided translations, as `metrics.json` has them."""
    images, labels = pictures(data)
    z = torch.randn(len(labels), STYLE, generator=torch.Generator().manual_seed(0))
    made = networks.decode(networks.encode(images.flip(0)), networks.mapping(z, labels))
    pair = (made.flatten(1).double().numpy(), labels, images.flatten(1).double().numpy(), labels)
    found = classwise_distances(*pair, CLASSES, errors=False)
    kernel, frechet = found.mean_kernel(), found.mean_frechet()
    assert kernel is not None
    assert frechet is not None
    return {"mKIDx100": 100 * kernel.value, "mFID": frechet.value}


def values(rows: dict[str, Weights], seeds: tuple[int, ...], machine: int) -> Iterator[Replicate]:
    for row, weights in rows.items():
        for data in DATA:
            for seed in seeds:
                found = scores(trained(weights, data, seed, machine), data)
                for metric, value in found.items():
                    yield Replicate(CellKey("toy", "latent", row, str(data), metric), seed, str(machine), value)


@pytest.fixture(scope="module")
def reference() -> Any:
    """Three seeds of two machines."""
    return by_cell([*values(ROWS, (0, 1, 2), 0), *values(ROWS, (0, 1, 2), 1)])


def differing(run: list[Replicate], reference: Any) -> tuple[str, set[str]]:
    """Return what the run was judged by, and the rows that differ."""
    own = {cell: {s: next(iter(v.values())) for s, v in found.items()} for cell, found in by_cell(run).items()}
    basis, cells = judged_cells(own, reference)
    return basis, {row.row[2] for row in judged_rows(cells) if row.differs}


@pytest.mark.parametrize(("seeds", "basis"), [((0, 1, 2), "machines"), ((3, 4, 5), "seeds")])
def test_an_honest_rerun_passes(seeds: Any, basis: str, reference: Any) -> None:
    assert differing(list(values(ROWS, seeds, 2)), reference) == (basis, set())


def test_a_dropped_term_is_found(reference: Any) -> None:
    """With the seeds of the reference: other seeds on one data set are too few to tell (tests of the simulation)."""
    wrong = {"whole": replace(ROWS["whole"], cyc=0.0)}
    right = {"no diversity": ROWS["no diversity"]}
    run = [*values(wrong, (0, 1, 2), 2), *values(right, (0, 1, 2), 2)]
    assert differing(run, reference) == ("machines", {"whole"})
