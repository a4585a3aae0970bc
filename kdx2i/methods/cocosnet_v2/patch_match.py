"""PatchMatch with a convolutional GRU (`models/networks/{patch_match,convgru}.py` of microsoft/CoCosNet-v2).

Left features [B, C, S, S] are the map's, right ones the exemplar's; candidates are offsets (`offsets.py`), of which 16
a position are kept. What finds the matches is outside of the gradient, as in the official code, where the offsets only
choose: the GRU computes their updates but never learns, and keeps the weights that it was drawn or loaded with.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kdx2i.methods.cocosnet_v2.offsets import CANDIDATES, Offsets, indices_of, offsets_of, propagated

HIDDEN = 32
"""Channels of the GRU's state."""

Coins = Callable[[], float]
"""Draws a number in [0, 1): below 0.5 the horizontal direction comes first."""


def draw_coin() -> float:
    """Return a number in [0, 1) of torch's global generator on the CPU."""
    return float(torch.rand(()))


def similarities(left: Tensor, right: Tensor, indices: Tensor, temperature: float) -> Tensor:
    """Return the softmax over candidates [B, P, K] of dot products divided by the temperature.

    `left` and `right` are [B, C, P] of P positions, `indices` int64 [B, P, K] the positions on the right.
    """
    chosen = select(right, indices)
    products: Tensor = torch.einsum("bpkc,bcp->bpk", chosen, left)
    return (products / temperature).softmax(-1)


def select(right: Tensor, indices: Tensor) -> Tensor:
    """Return the vectors [B, P, K, C] of `right` [B, C, P] at indices int64 [B, P, K]."""
    batch, channels, positions = right.shape
    base = positions * torch.arange(batch, device=right.device).reshape(-1, 1, 1)
    rows = right.transpose(1, 2).reshape(-1, channels)
    return rows.index_select(0, (indices + base).flatten()).reshape(*indices.shape, channels)


def evaluated(left: Tensor, right: Tensor, offsets: Offsets, temperature: float) -> tuple[Offsets, Tensor]:
    """Return the best third of 3 K candidates, as whole offsets [B, K, S, S], and their scores [B, P, K], best first.

    `left` and `right` are [B, C, P], P = S * S. The scores are those of the softmax over all 3 K (`Evaluate`).
    """
    batch, count, size, _ = offsets[0].shape
    indices = indices_of(*offsets)
    scores, order = similarities(left, right, indices, temperature).topk(count // 3, dim=-1)
    kept = indices.gather(-1, order).transpose(1, 2).reshape(batch, -1, size, size)
    return offsets_of(kept), scores


def search(left: Tensor, right: Tensor, offsets: Offsets, temperature: float, coin: float) -> tuple[Offsets, Tensor]:
    """Propagate and evaluate in one direction, then in the other (`PatchMatchOnce`); as `evaluated`.

    `left` and `right` are [B, C, P]; a `coin` below 0.5 takes the horizontal direction first.
    """
    scores = left.new_empty(0)
    for horizontal in (coin < 0.5, coin >= 0.5):
        rows, columns = (propagated(part, horizontal=horizontal) for part in offsets)
        offsets, scores = evaluated(left, right, (rows, columns), temperature)
    return offsets, scores


class FlowHead(nn.Module):
    """Updates of the 16 row and 16 column offsets from the state."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 64, 3, padding=1)
        self.conv2 = nn.Conv2d(64, 2 * CANDIDATES, 3, padding=1)

    def forward(self, state: Tensor) -> Offsets:
        """[B, 32, S, S] -> rows and columns [B, 16, S, S]."""
        rows, columns = self.conv2(self.conv1(state).relu()).chunk(2, 1)
        return rows, columns


class SeparableGRU(nn.Module):
    """A gated unit along rows, then one along columns (`SepConvGRU`)."""

    def __init__(self) -> None:
        super().__init__()
        for number, kernel in ((1, (1, 5)), (2, (5, 1))):
            for gate in "zrq":
                padding = (kernel[0] // 2, kernel[1] // 2)
                layer = nn.Conv2d(3 * HIDDEN, HIDDEN, kernel, padding=padding)
                self.add_module(f"conv{gate}{number}", layer)

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        """State [B, 32, S, S] and input [B, 64, S, S] -> the new state."""
        for number in (1, 2):
            update, reset, candidate = (self.get_submodule(f"conv{gate}{number}") for gate in "zrq")
            both = torch.cat([state, x], 1)
            z, r = update(both).sigmoid(), reset(both).sigmoid()
            q = candidate(torch.cat([r * state, x], 1)).tanh()
            state = (1 - z) * state + z * q
        return state


class MotionEncoder(nn.Module):
    """Scores [B, 16, S, S] and offsets [B, 32, S, S] -> 32 learned channels and the offsets, [B, 64, S, S]."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1, self.convc2 = nn.Conv2d(CANDIDATES, 64, 1), nn.Conv2d(64, 64, 3, padding=1)
        self.convf1, self.convf2 = nn.Conv2d(2 * CANDIDATES, 64, 7, padding=3), nn.Conv2d(64, 64, 3, padding=1)
        self.conv = nn.Conv2d(128, 64 - 2 * CANDIDATES, 3, padding=1)

    def forward(self, flow: Tensor, scores: Tensor) -> Tensor:
        """Encode the offsets [B, 32, S, S] with their scores [B, 16, S, S]."""
        scores = self.convc2(self.convc1(scores).relu()).relu()
        moved = self.convf2(self.convf1(flow).relu()).relu()
        return torch.cat([self.conv(torch.cat([scores, moved], 1)).relu(), flow], 1)


class UpdateBlock(nn.Module):
    """One refinement of the offsets (`BasicUpdateBlock`)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.gru, self.flow_head = MotionEncoder(), SeparableGRU(), FlowHead()

    def forward(self, state: Tensor, scores: Tensor, flow: Tensor) -> tuple[Tensor, Offsets]:
        """Return the new state [B, 32, S, S] and the updates of rows and columns [B, 16, S, S].

        `scores` are [B, 16, S, S], `flow` the rows and then the columns [B, 32, S, S].
        """
        state = self.gru(state, self.encoder(flow, scores))
        return state, self.flow_head(state)


class PatchMatchGRU(nn.Module):
    """Matches of one scale from initial candidates, refined `iterations` times; features have `width` channels."""

    def __init__(self, width: int, temperature: float, iterations: int) -> None:
        super().__init__()
        self.temperature, self.iterations = temperature, iterations
        norm = nn.InstanceNorm2d(HIDDEN)
        self.initial_layer = nn.Sequential(
            nn.Conv2d(2 * width, HIDDEN, 3, padding=1),
            norm,
            nn.ReLU(),
            nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1),
            norm,
            nn.ReLU(),
        )
        self.refine_net = UpdateBlock()

    @torch.no_grad()
    def match(self, left: Tensor, right: Tensor, offsets: Offsets, coins: Coins) -> Tensor:
        """Return the 16 matches int64 [B, P, 16] of each position, from features [B, C, S, S] and first candidates."""
        state = self.initial_layer(torch.cat([left, right], 1))
        flat_left, flat_right = left.flatten(2), right.flatten(2)
        for _ in range(self.iterations):
            offsets, scores = search(flat_left, flat_right, offsets, self.temperature, coins())
            rows, columns = offsets
            scores = scores.transpose(1, 2).reshape(rows.shape)
            state, (down, along) = self.refine_net(state, scores, torch.cat([rows, columns], 1))
            offsets = (rows + down, columns + along)
        return indices_of(*offsets)

    def forward(
        self, left: Tensor, right: Tensor, exemplar: Tensor, offsets: Offsets, coins: Coins = draw_coin
    ) -> tuple[Tensor, Tensor]:
        """Return the matches int64 [B, P, 16] and the warped exemplar [B, 3, S, S].

        Features are [B, C, S, S], the exemplar [B, 3, S, S], the offsets of the first 16 candidates [B, 16, S, S].
        Each position is the mean of its matches, weighted by the softmax of their scores: the gradient's only way.
        """
        matches = self.match(left, right, offsets, coins)
        weights = similarities(left.flatten(2), right.flatten(2), matches, self.temperature)
        warped = torch.einsum("bpkc,bpk->bcp", select(exemplar.flatten(2), matches), weights)
        return matches, warped.reshape(exemplar.shape)
