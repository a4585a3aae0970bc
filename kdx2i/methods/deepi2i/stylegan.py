"""DeepI2I's two-class variant in training (`DeepI2I_StyleGAN/train.py`) and translation.

Every step updates the model of each direction once, with a batch of its own. First only adaptor and discriminator
learn, then the generator too; the encoder stays the teacher's discriminator.
"""

from pathlib import Path

import torch
from torch import Tensor

from kdx2i.methods import stylegan_losses as losses
from kdx2i.methods.stylegan_model import TranslationModel, optimizers_of
from kdx2i.methods.stylegan_settings import StyleGANSettings
from kdx2i.methods.stylegan_translation import Direction, mixed_styles
from kdx2i.methods.translation import TranslationMethod
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast
from kdx2i.training.sampling import BalancedImages


class StyleGANMethod(TranslationMethod):
    """DeepI2I on a StyleGAN backbone, for `num_classes` directions; `images` is None when it only translates."""

    def __init__(
        self,
        settings: StyleGANSettings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        super().__init__(settings.train, num_classes, device, images)
        self.settings = settings
        self.model = TranslationModel(settings.networks, resolution, num_classes, device)
        self.networks, self.averages = self.model.networks, self.model.averages
        self.optimizers = optimizers_of(self.model, settings.train)

    def start_from_teacher(self, path: Path) -> None:
        """Copy the teacher's generator, discriminator and, as encoder, its discriminator again."""
        self.model.start_from_teacher(path)

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update every direction; in the first `adaptor_iterations` steps its adaptor and discriminator only."""
        scalars: dict[str, Tensor] = {}
        for target in range(self.num_classes):
            t, n = self.settings.train, self.num_classes
            labels = torch.full((t.batch,), target)
            real = self.images.draw(labels, t.crop_probability)
            source = self.images.draw((labels + torch.randint(1, n, (t.batch,))) % n, t.crop_probability)
            z = [shard(part).to(self.device) for part in torch.randn(4, t.batch, self.model.sizes.z_dim)]
            with autocast(self.device, t.precision):
                found = self._update(target, real, source, z, trains_generator=step >= t.adaptor_iterations)
            scalars |= {f"{name}_{target}": value for name, value in found.items()}
        return scalars

    def _update(
        self, target: int, real: Tensor, source: Tensor, z: list[Tensor], *, trains_generator: bool
    ) -> dict[str, Tensor]:
        """Update one direction: discriminator, then adaptor (and generator), then the style encoder."""
        t, direction = self.settings.train, self.model.directions[target]
        optimizers = {name: self.optimizers[f"{name}_{target}"] for name in ("adaptor", "generator", "discriminator")}
        with torch.no_grad():
            encoded = direction.encode(source)
        additions = direction.additions(encoded)
        with torch.no_grad():
            ws = mixed_styles(direction, z[0], z[1], t.mixing_probability)
            fake, _ = direction.generate(ws, {r: addition.detach() for r, addition in additions.items()})
        d_loss = losses.discriminator_loss(lambda x: direction.examine(x)[0], real, fake, t)
        step_optimizers(d_loss, optimizers["discriminator"])
        ws = mixed_styles(direction, z[2], z[3], t.mixing_probability)
        fake, _ = direction.generate(ws, additions)
        terms = self._generator_terms(direction, source, fake)
        trained = ("adaptor", "generator") if trains_generator else ("adaptor",)
        step_optimizers(terms["adv"] + terms["features"], *(optimizers[name] for name in trained))
        style = (direction.style_of(fake.detach()) - ws.detach().mean(dim=1)).abs().mean()
        step_optimizers(style, self.optimizers[f"style_encoder_{target}"])
        return {"d": d_loss, **terms, "style": style}

    def _generator_terms(self, direction: Direction, source: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the adversarial term and the distance of the discriminator's features of each source and fake."""
        logits, made = direction.examine(fake)
        with torch.no_grad():
            wanted = direction.features(source)
        return {
            "adv": losses.generator_loss(logits, self.settings.train),
            "features": losses.feature_loss(wanted, made, self.settings.train.feature_weights),
        }

    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the classes y [B], in [-1, 1]; modes `latent` and `reference`."""
        return self.model.translate(x, y, mode, references)
