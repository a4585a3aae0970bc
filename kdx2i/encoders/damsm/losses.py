"""The DAMSM loss (`code/GlobalAttention.py` and `code/miscc/losses.py` of taoxugit/AttnGAN).

Regions are [B, D, H, W], words [B, D, T] of which the first `lengths` int64 [B] count, image and sentence vectors
[B, D]. Image i belongs to caption i.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-8


@dataclass(frozen=True)
class Sharpness:
    """gamma1 of the attention over regions, gamma2 of the words of a caption, gamma3 of the pairs of a batch."""

    gamma1: float = 5.0
    gamma2: float = 5.0
    gamma3: float = 10.0


@dataclass(frozen=True)
class Encoded:
    """What the loss compares: regions [B, D, H, W] and codes [B, D], words [B, D, T], sentences [B, D], lengths [B]."""

    regions: Tensor
    codes: Tensor
    words: Tensor
    sentences: Tensor
    lengths: Tensor


def func_attention(query: Tensor, context: Tensor, gamma1: float) -> tuple[Tensor, Tensor]:
    """Return each word's context [B, D, T] and its attention over regions [B, T, H, W].

    `query` are words [B, D, T], `context` regions [B, D, H, W]. First a softmax over the words of a region, then, after
    the multiplication by `gamma1`, one over the regions of a word.
    """
    regions = context.flatten(2)
    scores = torch.bmm(regions.transpose(1, 2), query)  # [B, regions, words]
    attention = (gamma1 * scores.softmax(2)).transpose(1, 2).softmax(2)  # [B, words, regions]
    weighted = torch.bmm(regions, attention.transpose(1, 2))
    return weighted, attention.reshape(*attention.shape[:2], *context.shape[2:])


def cosine(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """Return the cosine of x and y, any shape, along `dim`; the product of the norms is at least 1e-8."""
    result: Tensor = (x * y).sum(dim) / (x.norm(dim=dim) * y.norm(dim=dim)).clamp(min=_EPS)
    return result


def cross_entropies(scores: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the cross entropies image -> caption and caption -> image of scores [B, B], rows images.

    Other pairs of one class, int64 [B], are no mistakes: they take no part.
    """
    if classes is not None:
        same = classes[:, None] == classes[None, :]
        same.fill_diagonal_(False)
        scores = scores.masked_fill(same, float("-inf"))
    labels = torch.arange(len(scores), device=scores.device)
    return F.cross_entropy(scores, labels), F.cross_entropy(scores.T, labels)


def words_loss(
    regions: Tensor, words: Tensor, lengths: Tensor, classes: Tensor | None, gamma: Sharpness
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return both cross entropies and the attention [1, T_i, H, W] of each caption i on its own image.

    Regions [B, D, H, W], words [B, D, T], lengths and classes int64 [B] or None for the latter.
    """
    columns, maps = [], []
    for number, length in enumerate(lengths.tolist()):
        caption = words[number : number + 1, :, :length].expand(len(regions), -1, -1)
        context, attention = func_attention(caption, regions, gamma.gamma1)
        maps.append(attention[number : number + 1])
        columns.append((gamma.gamma2 * cosine(caption, context, 1)).logsumexp(1))
    first, second = cross_entropies(gamma.gamma3 * torch.stack(columns, 1), classes)
    return first, second, maps


def sentence_scores(codes: Tensor, sentences: Tensor) -> Tensor:
    """Return the cosines [N, M] of image codes [N, D] and sentence vectors [M, D]."""
    norms = codes.norm(dim=1)[:, None] * sentences.norm(dim=1)[None, :]
    result: Tensor = codes @ sentences.T / norms.clamp(min=_EPS)
    return result


def sentence_loss(codes: Tensor, sentences: Tensor, classes: Tensor | None, gamma: Sharpness) -> tuple[Tensor, Tensor]:
    """Return both cross entropies of image codes [B, D] and sentence vectors [B, D]; classes int64 [B] or None."""
    return cross_entropies(gamma.gamma3 * sentence_scores(codes, sentences), classes)


def damsm_loss(encoded: Encoded, classes: Tensor | None, gamma: Sharpness, weight: float = 1.0) -> dict[str, Tensor]:
    """Return `words0`, `words1`, `sentence0`, `sentence1` and `total`, `weight` times their sum; classes int64 [B]."""
    words0, words1, _ = words_loss(encoded.regions, encoded.words, encoded.lengths, classes, gamma)
    sentence0, sentence1 = sentence_loss(encoded.codes, encoded.sentences, classes, gamma)
    total = weight * (words0 + words1) + weight * (sentence0 + sentence1)
    return {"words0": words0, "words1": words1, "sentence0": sentence0, "sentence1": sentence1, "total": total}
