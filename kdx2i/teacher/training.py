"""Training of a StyleGAN2 teacher (Karras et al. 2020), sized for small data and small machines.

Losses and lazy regularisation as in the official code (`training/loss.py` of
NVlabs/stylegan2-ada-pytorch): non-saturating logistic loss, R1 every 16 steps, optional path-length
regularisation every 4, Adam with the lazy-regularisation correction of its rate and betas.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from kdx2i.teacher.augment import Augment, AugmentSettings
from kdx2i.teacher.stylegan2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, NoiseMode
from kdx2i.training.determinism import derive_seed
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import place, to_images


@dataclass(frozen=True)
class TeacherSettings:
    """What a teacher is trained with.

    Gamma of R1 is NVIDIA's convention: gamma/2 times the penalty. `noise` "none" trains without noise maps:
    flat drawings have no random detail, and small networks spend thousands of steps unlearning it.
    """

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    batch: int = 16
    learning_rate: float = 2e-3
    r1_gamma: float = 1.0
    r1_every: int = 16
    path_length_weight: float = 0.0
    path_length_every: int = 4
    mixing_probability: float = 0.9
    ema_kimg: float = 10.0
    ema_ramp: float = 0.05
    mirror: bool = True
    noise: NoiseMode = "random"
    augment: AugmentSettings = field(default_factory=AugmentSettings)


def lazy_adam(module: nn.Module, learning_rate: float, every: int) -> Adam:
    """Return Adam with rate and betas corrected for one regularisation step in `every` (0: none)."""
    ratio = every / (every + 1) if every else 1.0
    return adam(module.parameters(), learning_rate * ratio, (0.0, 0.99**ratio), eps=1e-8)


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Return E |d D(x) / dx|^2, the batch mean for logits [B] of images [B, 3, R, R] that require gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(image: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Return |J_w^T y| per sample: noise [B, C, H, W] ~ N(0, 1), ws [B, num_ws, D] -> [B]."""
    (gradient,) = torch.autograd.grad((image * noise).sum() / math.sqrt(image[0, 0].numel()), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """Return mean (length - m)^2 of lengths [B] and the scalar m, the running mean moved by `decay` towards theirs."""
    moved = mean + decay * (lengths.mean() - mean)
    return (lengths - moved).square().mean(), moved.detach()


def draw_styles(generator: Generator, batch: int, mixing_probability: float, device: torch.device) -> Tensor:
    """Draw ws [B, num_ws, D] with mixing regularisation: one cut for the whole batch."""
    z = torch.randn(2, batch, generator.config.z_dim)
    cut = int(torch.randint(1, generator.num_ws, ()))
    mixes = bool(torch.rand(()) < mixing_probability)
    z = torch.stack([shard(z[0]), shard(z[1])]).to(device)
    w1: Tensor = generator.mapping(z[0], update_mean=generator.training)
    if not mixes:
        return w1[:, None].expand(-1, generator.num_ws, -1)
    w2 = generator.mapping(z[1])
    parts = [w1[:, None].expand(-1, cut, -1), w2[:, None].expand(-1, generator.num_ws - cut, -1)]
    return torch.cat(parts, dim=1)


class TeacherTraining:
    """The `Trainable` that trains a teacher on `count` images that `fetch` returns by index as uint8."""

    def __init__(
        self,
        settings: TeacherSettings,
        fetch: Callable[[Tensor], Tensor],
        count: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.settings, self.fetch, self.count, self.device = settings, fetch, count, device
        torch.manual_seed(derive_seed(seed, "initialise"))
        self.generator = place(Generator(settings.generator), device)
        self.discriminator = place(Discriminator(settings.discriminator), device)
        average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.networks: Mapping[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
        }
        self.averages: Mapping[str, nn.Module] = {"generator": average}
        lazy_g = settings.path_length_every if settings.path_length_weight else 0
        self.optimizers: Mapping[str, Optimizer] = {
            "generator": lazy_adam(self.generator, settings.learning_rate, lazy_g),
            "discriminator": lazy_adam(self.discriminator, settings.learning_rate, settings.r1_every),
        }
        self.augment = Augment(settings.augment)
        self.path_mean = torch.zeros([], device=device)
        self.preview_z = torch.randn(32, settings.generator.z_dim)

    def _reals(self) -> Tensor:
        indices = torch.randint(self.count, (self.settings.batch,))
        flips = torch.rand(self.settings.batch) < 0.5
        pixels = self.fetch(shard(indices))
        if self.settings.mirror:
            pixels = torch.where(shard(flips)[:, None, None, None], pixels.flip(3), pixels)
        return to_images(pixels, self.device)

    def _fakes(self) -> Tensor:
        ws = draw_styles(self.generator, self.settings.batch, self.settings.mixing_probability, self.device)
        image: Tensor = self.generator.synthesis(ws, self.settings.noise)[0]
        return image

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One discriminator and one generator update, with the lazy regularisers when they are due."""
        s = self.settings
        reals = self._reals()
        with torch.no_grad():
            fakes = self._fakes()
        logits = self.discriminator(self.augment(reals))
        d_loss = F.softplus(-logits).mean() + F.softplus(self.discriminator(self.augment(fakes))).mean()
        step_optimizers(d_loss, self.optimizers["discriminator"])
        self.augment.adapt(float(logits.detach().sign().mean()), s.batch)
        if s.r1_every and step % s.r1_every == 0:
            images = self.augment(reals).detach().requires_grad_(True)
            penalty = r1_penalty(self.discriminator(images), images)
            step_optimizers(penalty * (s.r1_gamma / 2 * s.r1_every), self.optimizers["discriminator"])
        g_loss = F.softplus(-self.discriminator(self.augment(self._fakes()))).mean()
        step_optimizers(g_loss, self.optimizers["generator"])
        if s.path_length_weight and step % s.path_length_every == 0:
            self._path_length_step()
        return {"d": d_loss, "g": g_loss, "real": logits.mean(), "p": torch.tensor(self.augment.probability)}

    def _path_length_step(self) -> None:
        s = self.settings
        ws = draw_styles(self.generator, max(1, s.batch // 2), s.mixing_probability, self.device)
        image, _ = self.generator.synthesis(ws, self.settings.noise)
        lengths = path_lengths(image, ws, torch.randn_like(image))
        penalty, self.path_mean = path_penalty(lengths, self.path_mean)
        step_optimizers(penalty * (s.path_length_weight * s.path_length_every), self.optimizers["generator"])

    def ema_decay(self, step: int) -> float:
        """Half-life of `ema_kimg` thousand images, shorter at the start (`ema_ramp` of the images seen)."""
        seen = (step + 1) * self.settings.batch
        half_life = min(self.settings.ema_kimg * 1000, seen * self.settings.ema_ramp)
        return float(0.5 ** (self.settings.batch / max(half_life, 1e-8)))

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """32 images of the averaged generator, eight a row."""
        images = self.averages["generator"](self.preview_z.to(self.device), noise="const")
        return images, 8

    def scalars(self) -> dict[str, float]:
        """The augmentation's probability and the path length's running mean."""
        return {"probability": self.augment.probability, "path_mean": float(self.path_mean)}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Take back what `scalars` returned."""
        self.augment.probability = values["probability"]
        self.path_mean = torch.tensor(values["path_mean"], device=self.device)
