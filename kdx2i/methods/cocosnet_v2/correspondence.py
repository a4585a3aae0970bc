"""The correspondence network (`NoVGGHPMCorrespondence` of `models/networks/correspondence.py`).

The official sizes 64, 128, 256, 512 belong to images of 512 px; here the scales are 1/8, 1/4, 1/2 and 1 of any image,
which no parameter depends on (protocol entry cocosnet-scales).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.cocosnet_v2.blocks import HIDDEN, NORM_E, NORM_G, feature_normalize
from kdx2i.methods.cocosnet_v2.features import AdaptiveFeatures
from kdx2i.methods.cocosnet_v2.offsets import centred, window_around
from kdx2i.methods.cocosnet_v2.patch_match import Coins, PatchMatchGRU, draw_coin

MULTIPLES = (4, 4, 2, 1)
"""Channels of the pyramid's levels, the coarsest first, in multiples of the width."""


@dataclass(frozen=True)
class Correspondence:
    """What the network finds.

    `warps`: the exemplar warped to the map, [B, 3, s, s] at s = R/8, R/4, R/2 and R. `cycle`: the coarsest warp, warped
    back. `map_features`, `image_features`: the normalised pyramids [B, C_i, s, s] of the map and of the exemplar.
    """

    warps: tuple[Tensor, ...]
    cycle: Tensor
    map_features: tuple[Tensor, ...]
    image_features: tuple[Tensor, ...]


class CorrespondenceNetwork(nn.Module):
    """Two feature pyramids, four pairs of projections and one PatchMatch for the three finer scales."""

    def __init__(
        self,
        labels: int,
        width: int,
        *,
        temperature: float = 0.01,
        iterations: int = 5,
        kernel: int = 3,
        norm: str = NORM_E,
        spade_norm: str = NORM_G,
        pono: bool = True,
        hidden: int = HIDDEN,
        channel_centred: bool = True,
    ) -> None:
        super().__init__()
        self.temperature, self.channel_centred = temperature, channel_centred
        self.adaptive_model_seg, self.adaptive_model_img = (
            AdaptiveFeatures(inputs, width, kernel=kernel, norm=norm, spade_norm=spade_norm, pono=pono, hidden=hidden)
            for inputs in (labels, 3 + labels)
        )
        for level, multiple in enumerate(MULTIPLES):
            for name in ("phi", "theta"):
                self.add_module(f"{name}_{level}", nn.Conv2d(multiple * width, width, 1))
        self.patch_match = PatchMatchGRU(width, temperature, iterations)

    def image_pyramid(self, image: Tensor, label_map: Tensor) -> tuple[Tensor, ...]:
        """Return the normalised features of an image [B, 3, R, R] with its one-hot map [B, L, R, R]."""
        return tuple(map(feature_normalize, self.adaptive_model_img(torch.cat([image, label_map], 1))))

    def _projected(self, name: str, features: tuple[Tensor, ...]) -> list[Tensor]:
        layers = [self.get_submodule(f"{name}_{level}") for level in range(len(MULTIPLES))]
        projected = [layer(x) for layer, x in zip(layers, features, strict=True)]
        return [centred(x, over_channels=self.channel_centred) for x in projected]

    def forward(
        self, label_map: Tensor, exemplar: Tensor, exemplar_map: Tensor, coins: Coins = draw_coin
    ) -> Correspondence:
        """Warp an exemplar [B, 3, R, R] to a map [B, L, R, R]; its own map is `exemplar_map` [B, L, R, R].

        Maps are one-hot. `coins` says which direction each iteration of PatchMatch takes first.
        """
        map_features = tuple(map(feature_normalize, self.adaptive_model_seg(label_map)))
        image_features = self.image_pyramid(exemplar, exemplar_map)
        left, right = self._projected("theta", map_features), self._projected("phi", image_features)
        sizes = [x.shape[-1] for x in left]
        levels = [F.avg_pool2d(exemplar, exemplar.shape[-1] // size) for size in sizes]
        warp, cycle, best = self._coarsest(left[0], right[0], levels[0])
        warps = [warp]
        for x, y, level in zip(left[1:], right[1:], levels[1:], strict=True):
            with torch.no_grad():
                candidates = window_around(best)
            matches, warp = self.patch_match(x, y, level, candidates, coins)
            best = matches[..., 0].reshape(len(x), *x.shape[2:])
            warps.append(warp)
        return Correspondence(tuple(warps), cycle, map_features, image_features)

    def _coarsest(self, left: Tensor, right: Tensor, exemplar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the warp and its way back, [B, 3, S, S], by all correlations, and the best matches int64 [B, S, S]."""
        size = left.shape[-1]
        correlations = torch.einsum("bcp,bcq->bpq", left.flatten(2), right.flatten(2)) / self.temperature
        weights = correlations.softmax(-1)
        warp = torch.einsum("bpq,bcq->bcp", weights, exemplar.flatten(2))
        cycle = torch.einsum("bpq,bcp->bcq", correlations.softmax(1), warp)
        best = weights.topk(1, dim=-1).indices.reshape(-1, size, size)
        return warp.reshape(exemplar.shape), cycle.reshape(exemplar.shape), best
