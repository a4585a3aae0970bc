"""What DeepI2I and TransferI2I on StyleGAN share: their set-up, and the update of a direction that translates.

Every step updates the model of each direction once, with a batch of its own.
"""

from pathlib import Path

import torch
from torch import Tensor

from kdx2i.methods import stylegan_losses as losses
from kdx2i.methods.stylegan_model import TranslationModel, optimizers_of
from kdx2i.methods.stylegan_settings import StyleGANNetworks, StyleGANTrain
from kdx2i.methods.stylegan_translation import Direction, mixed_styles
from kdx2i.methods.translation import TranslationMethod
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast
from kdx2i.training.sampling import BalancedImages


class StyleGANTranslation(TranslationMethod):
    """A direction into each of `num_classes` classes on a StyleGAN backbone; a subclass has `training_step`.

    `lambda_aux` is the weight of further fakes: images of the same generator without a source.
    """

    lambda_aux: float = 0.0
    feature_power: int = 2

    def __init__(
        self,
        sizes: StyleGANNetworks,
        train: StyleGANTrain,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
        *,
        shared_encoder: bool = True,
    ) -> None:
        super().__init__(train, num_classes, device, images)
        self.schedule = train
        self.model = TranslationModel(sizes, resolution, num_classes, device, shared_encoder=shared_encoder)
        self.networks, self.averages = self.model.networks, self.model.averages
        self.optimizers = optimizers_of(self.model, train)

    def start_from_teacher(self, path: Path) -> None:
        """Copy the teacher's generator, discriminator and, as encoder, its discriminator again."""
        self.model.start_from_teacher(path)

    def optimizers_for(self, target: int, *names: str) -> list[torch.optim.Optimizer]:
        """Return the optimisers of these networks of one direction."""
        return [self.optimizers[f"{name}_{target}"] for name in names]

    def noise(self, count: int) -> list[Tensor]:
        """Draw `count` batches of noise [B, z_dim], this process's share of each."""
        drawn = torch.randn(count, self.schedule.batch, self.model.sizes.z_dim)
        return [shard(part).to(self.device) for part in drawn]

    def logits(self, direction: Direction) -> losses.Logits:
        """Return the discriminator of a direction as a function: images -> logits [B]."""
        return lambda x: direction.examine(x)[0]

    def generated(self, direction: Direction) -> Tensor:
        """Return a batch of images of the plain GAN, from fresh noise and with mixed styles."""
        z, z2 = self.noise(2)
        return direction.generate(mixed_styles(direction, z, z2, self.schedule.mixing_probability))[0]

    def translation_step(self, *, trains_generator: bool = True) -> dict[str, Tensor]:
        """Update every direction: discriminator, then adaptor (and generator), then the style encoder."""
        scalars: dict[str, Tensor] = {}
        for target in range(self.num_classes):
            t, n = self.schedule, self.num_classes
            labels = torch.full((t.batch,), target)
            real = self.images.draw(labels, t.crop_probability)
            source = self.images.draw((labels + torch.randint(1, n, (t.batch,))) % n, t.crop_probability)
            z = self.noise(4)
            with autocast(self.device, t.precision):
                found = self._update(target, real, source, z, trains_generator=trains_generator)
            scalars |= {f"{name}_{target}": value for name, value in found.items()}
        return scalars

    def _update(
        self, target: int, real: Tensor, source: Tensor, z: list[Tensor], *, trains_generator: bool
    ) -> dict[str, Tensor]:
        """Update one direction: discriminator, then adaptor (and generator), then the style encoder."""
        t, direction = self.schedule, self.model.directions[target]
        with torch.no_grad():
            encoded = direction.encode(source)
        additions = direction.additions(encoded)
        with torch.no_grad():
            ws = mixed_styles(direction, z[0], z[1], t.mixing_probability)
            fake, _ = direction.generate(ws, {r: addition.detach() for r, addition in additions.items()})
            further = (self.generated(direction), self.lambda_aux) if self.lambda_aux else None
        d_loss = losses.discriminator_loss(self.logits(direction), real, fake, t, further)
        step_optimizers(d_loss, *self.optimizers_for(target, "discriminator"))
        ws = mixed_styles(direction, z[2], z[3], t.mixing_probability)
        fake, _ = direction.generate(ws, additions)
        terms = self._generator_terms(direction, source, fake)
        total = terms["adv"] + terms["features"]
        if self.lambda_aux:
            terms["aux"] = losses.generator_loss(direction.examine(self.generated(direction))[0], t)
            total = total + self.lambda_aux * terms["aux"]
        trained = ("adaptor", "generator") if trains_generator else ("adaptor",)
        step_optimizers(total, *self.optimizers_for(target, *trained))
        style = (direction.style_of(fake.detach()) - ws.detach().mean(dim=1)).abs().mean()
        step_optimizers(style, *self.optimizers_for(target, "style_encoder"))
        return {"d": d_loss, **terms, "style": style}

    def _generator_terms(self, direction: Direction, source: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the adversarial term and the distance of the discriminator's features of each source and fake."""
        logits, made = direction.examine(fake)
        with torch.no_grad():
            wanted = direction.features(source)
        return {
            "adv": losses.generator_loss(logits, self.schedule),
            "features": losses.feature_loss(wanted, made, self.schedule.feature_weights, self.feature_power),
        }

    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the classes y [B], in [-1, 1]; modes `latent` and `reference`."""
        return self.model.translate(x, y, mode, references)
