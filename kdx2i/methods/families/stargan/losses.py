"""The objectives of StarGAN v2 (`core/solver.py` of clovaai/stargan-v2).

Pure functions of the networks' callables. One iteration has four half-steps: discriminator and generator,
each with the style of the mapping network (latent) and of the style encoder (reference). What an objective
does not differentiate is computed without gradient, and the content of the source image is computed once:
pass `content` to share it among half-steps between which the generator does not change.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Content = Any
"""What `encode` returns: a tensor or a tuple of tensors; only `decode` looks inside."""


@dataclass(frozen=True)
class Networks:
    """The callables that the objectives use.

    `encode(x)` and `decode(content, s)` are the two halves of the generator G(x, s) = decode(encode(x), s);
    `mapping(z, y)` and `style(x, y)` return styles [B, S]; `discriminator(x, y)` returns logits [B].
    """

    encode: Callable[[Tensor], Content]
    decode: Callable[[Content, Tensor], Tensor]
    mapping: Callable[[Tensor, Tensor], Tensor]
    style: Callable[[Tensor, Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms; `ds` decays during training (`lambda_ds` of the official code)."""

    reg: float = 1.0
    sty: float = 1.0
    ds: float = 1.0
    cyc: float = 1.0


@dataclass(frozen=True)
class Guidance:
    """Where the target style comes from: two noise vectors [B, Z] or two reference images, and the domain.

    Exactly one of `z` and `x_ref` is given. The discriminator objective needs no second one.
    """

    y_trg: Tensor
    z: Tensor | None = None
    z2: Tensor | None = None
    x_ref: Tensor | None = None
    x_ref2: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.z is None) == (self.x_ref is None):
            raise ValueError("a half-step is guided by noise or by reference images, not by both or neither")

    def target_style(self, networks: Networks, *, second: bool = False) -> Tensor:
        """Return the style [B, S] of the first or the second noise or reference."""
        noise, image = (self.z2, self.x_ref2) if second else (self.z, self.x_ref)
        if noise is not None:
            return networks.mapping(noise, self.y_trg)
        if image is not None:
            return networks.style(image, self.y_trg)
        raise ValueError("the generator objective needs a second noise vector or reference image")


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Let no parameter of the modules require gradients inside the block; restores each one's flag."""
    flags = [(p, p.requires_grad) for module in modules for p in module.parameters()]
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def detach(content: Content) -> Content:
    """Return the content cut from its gradient."""
    return tuple(detach(part) for part in content) if isinstance(content, tuple) else content.detach()


def adversarial_loss(logits: Tensor, target: bool) -> Tensor:
    """Binary cross entropy of logits [B] against all ones or all zeros, a batch mean."""
    return F.softplus(-logits if target else logits).mean()


def r1_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """0.5 mean_b |d logits_b / d x_b|^2 of logits [B] and images [B, 3, H, W], differentiable; `x` needs gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean()


def discriminator_loss(
    networks: Networks,
    x_real: Tensor,
    y_org: Tensor,
    guidance: Guidance,
    weights: Weights,
    content: Content | None = None,
) -> dict[str, Tensor]:
    """Return the terms `real`, `fake`, `reg` and their weighted sum `total` of the discriminator's objective.

    x_real [B, 3, H, W] with labels y_org [B]; the fake is generated without gradient, from `content` if given.
    """
    with torch.no_grad():
        style = guidance.target_style(networks)
        source = networks.encode(x_real) if content is None else detach(content)
        x_fake = networks.decode(source, style)
    x_real = x_real.detach().requires_grad_()
    logits = networks.discriminator(x_real, y_org)
    real = adversarial_loss(logits, True)
    reg = r1_penalty(logits, x_real)
    fake = adversarial_loss(networks.discriminator(x_fake, guidance.y_trg), False)
    return {"real": real, "fake": fake, "reg": reg, "total": real + fake + weights.reg * reg}


def generator_loss(
    networks: Networks,
    x_real: Tensor,
    y_org: Tensor,
    guidance: Guidance,
    weights: Weights,
    content: Content | None = None,
) -> dict[str, Tensor]:
    """Return the terms `adv`, `sty`, `ds`, `cyc` and their weighted sum `total` of the generator's objective.

    x_real [B, 3, H, W] with labels y_org [B]; `content` is encode(x_real) with its gradient, if known.
    The second image of the diversity term is detached, the style target is not; the cycle always uses the style
    encoder.
    """
    y_trg = guidance.y_trg
    style = guidance.target_style(networks)
    source = networks.encode(x_real) if content is None else content
    x_fake = networks.decode(source, style)
    adv = adversarial_loss(networks.discriminator(x_fake, y_trg), True)
    sty = (networks.style(x_fake, y_trg) - style).abs().mean()
    with torch.no_grad():
        x_fake2 = networks.decode(detach(source), guidance.target_style(networks, second=True))
    ds = (x_fake - x_fake2).abs().mean()
    x_rec = networks.decode(networks.encode(x_fake), networks.style(x_real, y_org))
    cyc = (x_rec - x_real).abs().mean()
    total = adv + weights.sty * sty - weights.ds * ds + weights.cyc * cyc
    return {"adv": adv, "sty": sty, "ds": ds, "cyc": cyc, "total": total}
