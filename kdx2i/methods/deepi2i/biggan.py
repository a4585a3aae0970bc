"""DeepI2I on BigGAN in training (`train_fns.py` of yaxingwang/DeepI2I)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from kdx2i.methods import biggan_translation as flow
from kdx2i.methods.biggan_losses import discriminator_hinge, feature_pairs, generator_hinge
from kdx2i.methods.biggan_method import BigGANTranslation
from kdx2i.methods.deepi2i.settings import BigGANSettings
from kdx2i.teacher.biggan import Features
from kdx2i.training import distributed
from kdx2i.training.distributed import shard
from kdx2i.training.precision import autocast
from kdx2i.training.sampling import BalancedImages


class Part(NamedTuple):
    """One part of a batch: sources, real images with their classes, target classes and noise of both updates."""

    source: Tensor
    real: Tensor
    y_real: Tensor
    y: Tensor
    z_discriminator: Tensor
    z_generator: Tensor


class BigGANMethod(BigGANTranslation):
    """DeepI2I for the first `num_classes` of the teacher's classes; `images` is None when it only translates."""

    title = "DeepI2I"

    def __init__(
        self,
        settings: BigGANSettings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        t = settings.train
        trains_encoder = t.encoder == "trained"
        super().__init__(settings.networks, t, resolution, num_classes, device, images, trains_encoder=trains_encoder)
        self.settings = settings
        self.encoder.train(t.encoder != "frozen")

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
        y_source, y_real, y = (images.draw_labels(t.batch) for _ in range(3))
        source, real = (
            images.draw(labels, t.crop_probability, mirror_probability=t.mirror_probability)
            for labels in (y_source, y_real)
        )
        z = torch.randn(2, t.batch, self.generator.config.noise_dim)
        shares = [shard(tensor).to(self.device) for tensor in (y_real, y, z[0], z[1])]
        parts = [tensor.chunk(t.accumulation) for tensor in (source, real, *shares)]
        yield from (Part(*tensors) for tensors in zip(*parts, strict=True))

    @torch.no_grad()
    def _encode(self, part: Part) -> Features:
        return self.encoder.features(part.source)

    def _generate(self, z: Tensor, y: Tensor, encoded: Features) -> Tensor:
        """Return the translation in training mode: with the statistics of its own part of the batch."""
        added = flow.weighted(self.networks["adaptor"](encoded), self.settings.networks.added)
        image: Tensor = self.generator(z, y, added)
        return image

    def _discriminator_terms(self, part: Part, encoded: Features) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self._generate(part.z_discriminator, part.y, encoded)
        logits, _ = self.discriminator(torch.cat([fake, part.real]), torch.cat([part.y, part.y_real]))
        made, real = logits.chunk(2)
        d_real, d_fake = discriminator_hinge(real, made)
        return {"total": d_real + d_fake, "d_real": d_real, "d_fake": d_fake}

    def _generator_terms(self, part: Part, encoded: Features) -> dict[str, Tensor]:
        t = self.settings.train
        logits, features = self.discriminator(self._generate(part.z_generator, part.y, encoded), part.y)
        with torch.no_grad():
            wanted = self.discriminator.features(part.source) if t.feature_pairs == "per-sample" else features
        distances = flow.feature_distances(*feature_pairs(features, wanted, t.feature_pairs))
        adversarial, feature = generator_hinge(logits), flow.weighted_sum(distances, t.compared)
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
