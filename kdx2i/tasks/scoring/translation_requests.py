"""Which images are translated, to which class, with which references: one deterministic list per dataset.

Every method and mode of a table, and the control row "input copied", uses the same list.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdx2i.errors import UserError


@dataclass(frozen=True)
class Translations:
    """Indices of sources and references into the real images, int64 [N], and target classes int64 [N]."""

    sources: Tensor
    references: Tensor
    targets: Tensor

    def part(self, chosen: slice) -> "Translations":
        """Return some of the requests."""
        return Translations(self.sources[chosen], self.references[chosen], self.targets[chosen])


def draw_requests(labels: Tensor, is_test: Tensor, num_classes: int, per_class: int, seed: int) -> Translations:
    """Ask for `per_class` images of each class, of real images with labels int64 (N,) and the mask bool (N,) of tests.

    Sources are test images of other classes, references training images of the target class (test images
    would hand the held-out drawings to the generator); both are used in a random order, without repetition
    until all were used. Without test images of another class, sources are training images. `UserError` for
    a class without training images, or a split of one class.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen: list[list[Tensor]] = [[], [], []]
    for target in range(num_classes):
        sources = torch.nonzero((labels != target) & is_test).flatten()
        if not len(sources):
            sources = torch.nonzero(labels != target).flatten()
        own = torch.nonzero((labels == target) & ~is_test).flatten()
        chosen[0].append(_cycle(sources, per_class, generator))
        chosen[1].append(_cycle(own, per_class, generator))
        chosen[2].append(torch.full((per_class,), target))
    return Translations(*(torch.cat(parts) for parts in chosen))


def draw_directed(labels: Tensor, is_test: Tensor, source: int, target: int, count: int, seed: int) -> Translations:
    """Ask for `count` translations of test images of one class to another, as `draw_requests` does for all.

    `labels` int64 (N,) and `is_test` bool (N,) are those of the real images; errors as there.
    """
    generator = torch.Generator().manual_seed(seed)
    sources = torch.nonzero((labels == source) & is_test).flatten()
    if not len(sources):
        sources = torch.nonzero(labels == source).flatten()
    own = torch.nonzero((labels == target) & ~is_test).flatten()
    chosen = _cycle(sources, count, generator), _cycle(own, count, generator)
    return Translations(*chosen, targets=torch.full((count,), target))


def draw_repeats(
    labels: Tensor, is_test: Tensor, num_classes: int, sources: int, outputs: int, seed: int
) -> Translations:
    """Ask `outputs` times for each of `sources` pairs of an image and a target class, with new references each time.

    `labels` int64 (N,) and `is_test` bool (N,) are those of the real images. The pairs are spread evenly over the
    target classes and drawn as `draw_requests` does; the requests of one pair follow each other. With as many sources
    as there are pairs, every test image is asked for every other class; with more, pairs come again.
    """
    requests = draw_requests(labels, is_test, num_classes, -(-sources // num_classes), seed)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.linspace(0, len(requests.targets) - 1, sources).long()
    references = []
    for target in requests.targets[chosen]:
        own = torch.nonzero((labels == target) & ~is_test).flatten()
        references.append(_cycle(own, outputs, generator))
    repeated = chosen.repeat_interleave(outputs)
    return Translations(requests.sources[repeated], torch.cat(references), requests.targets[repeated])


def _cycle(items: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` items in random order, repeating only after all were used."""
    if not len(items):
        raise UserError("a class of the split lacks training images, or all other classes lack images")
    rounds = -(-count // len(items))
    order = torch.cat([torch.randperm(len(items), generator=generator) for _ in range(rounds)])
    return items[order[:count]]
