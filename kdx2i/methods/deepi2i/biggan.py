"""DeepI2I on BigGAN in training (`DeepI2I_BigGAN/train_fns.py` of yaxingwang/DeepI2I)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.deepi2i.settings import OnBigGAN
from kdx2i.methods.families.biggan.losses import (
    discriminator_hinge,
    feature_distances,
    feature_pairs,
    generator_hinge,
    weighted_sum,
)
from kdx2i.methods.families.biggan.method import BigGANTranslation
from kdx2i.teacher.biggan import Features
from kdx2i.training import distributed
from kdx2i.training.precision import autocast


class Part(NamedTuple):
    """One part of a batch: sources, real images with their classes, target classes and noise of both updates."""

    source: Tensor
    real: Tensor
    y_real: Tensor
    y: Tensor
    z_discriminator: Tensor
    z_generator: Tensor


class BigGANMethod(BigGANTranslation[OnBigGAN]):
    """DeepI2I for the first of the teacher's classes."""

    def __init__(self, setup: MethodSetup[OnBigGAN]) -> None:
        role = setup.settings.train.encoder
        super().__init__(setup, trains_encoder=role == "trained")
        self.encoder.train(role != "frozen")

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update the discriminator, then the adaptor and, after its own steps, the generator (and the encoder)."""
        t = self.settings.train
        parts = list(self._draw())
        trained = ["adaptor"]
        trained += ["generator"] if step >= t.adaptor_iterations else []
        trained += ["encoder"] if t.encoder == "trained" else []
        with autocast(self.device, t.precision):
            encoded = [self._encode(part) for part in parts]
            losses = (self._discriminator_terms(part, codes) for part, codes in zip(parts, encoded, strict=True))
            scalars = self._update(losses, ["discriminator"])
            if t.encoder == "trained":
                encoded = [self.encoder.features(part.source) for part in parts]
            losses = (self._generator_terms(part, codes) for part, codes in zip(parts, encoded, strict=True))
            return scalars | self._update(losses, trained)

    def _draw(self) -> Iterator[Part]:
        """Draw a batch and yield its parts; targets are uniform, sources and real images independent of them."""
        t, images = self.settings.train, self.images
        y_source, y_real = (images.draw_labels(t.batch, balanced=t.sampling == "balanced") for _ in range(2))
        y = images.draw_labels(t.batch)
        source, real = (
            images.draw(labels, t.crop_probability, mirror_probability=t.mirror_probability)
            for labels in (y_source, y_real)
        )
        shares = [self.share(tensor) for tensor in (y_real, y, *self.draw_noise(2, t.batch))]
        parts = [tensor.chunk(t.accumulation) for tensor in (source, real, *shares)]
        yield from (Part(*tensors) for tensors in zip(*parts, strict=True))

    @torch.no_grad()
    def _encode(self, part: Part) -> Features:
        return self.encoder.features(part.source)

    def _discriminator_terms(self, part: Part, encoded: Features) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self.render(self.networks, part.z_discriminator, part.y, encoded)
        logits, _ = self.discriminator(torch.cat([fake, part.real]), torch.cat([part.y, part.y_real]))
        of_fake, of_real = logits.chunk(2)
        d_real, d_fake = discriminator_hinge(of_real, of_fake)
        return {"total": d_real + d_fake, "d_real": d_real, "d_fake": d_fake}

    def _generator_terms(self, part: Part, encoded: Features) -> dict[str, Tensor]:
        t = self.settings.train
        fake = self.render(self.networks, part.z_generator, part.y, encoded)
        logits, features = self.discriminator(fake, part.y)
        with torch.no_grad():
            of_source = self.discriminator.features(part.source) if t.feature_pairs == "per-sample" else features
        distances = feature_distances(*feature_pairs(features, of_source, t.feature_pairs))
        adversarial, feature = generator_hinge(logits), weighted_sum(distances, t.compared)
        return {"total": adversarial + feature, "g_adv": adversarial, "feature": feature}

    def _update(self, losses: Iterator[dict[str, Tensor]], names: list[str]) -> dict[str, Tensor]:
        """Step the named optimisers with the gradients of all parts' mean `total`; return the other means."""
        optimizers: list[Optimizer] = [self.optimizers[name] for name in names]
        parameters = [p for name in names for p in self.networks[name].parameters()]
        count, means = self.settings.train.accumulation, dict[str, Tensor]()
        for terms in losses:
            gradients = torch.autograd.grad(terms.pop("total") / count, parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
            for name, term in terms.items():
                means[name] = means.get(name, torch.zeros_like(term)) + term.detach() / count
        distributed.average_gradients(parameters)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return means
