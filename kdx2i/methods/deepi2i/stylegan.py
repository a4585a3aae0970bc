"""DeepI2I's two-class variant in training (`DeepI2I_StyleGAN/train.py`) and translation.

Every step updates the model of each direction once, with a batch of its own. First only adaptor and discriminator
learn, then the generator too; the encoder stays the teacher's discriminator.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from kdx2i.errors import UserError
from kdx2i.methods import stylegan_losses as losses
from kdx2i.methods.stylegan_model import TranslationModel
from kdx2i.methods.stylegan_settings import StyleGANNetworks, StyleGANTrain
from kdx2i.methods.stylegan_translation import Direction, Features, mixed_styles
from kdx2i.training.distributed import shard
from kdx2i.training.loop import step_optimizers
from kdx2i.training.precision import autocast
from kdx2i.training.sampling import BalancedImages


class StyleGANMethod:
    """DeepI2I on a StyleGAN backbone, for `num_classes` directions; `images` is None when it only translates."""

    def __init__(
        self,
        sizes: StyleGANNetworks,
        train: StyleGANTrain,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        self.train, self.images, self.device, self.num_classes = train, images, device, num_classes
        self.model = TranslationModel(sizes, resolution, num_classes, device)
        self.networks: Mapping[str, nn.Module] = self.model.networks
        self.averages: Mapping[str, nn.Module] = self.model.averages
        self.optimizers: Mapping[str, Optimizer] = {
            name: self._optimizer(name, network) for name, network in self.networks.items() if name != "encoder"
        }

    def _optimizer(self, name: str, network: nn.Module) -> Optimizer:
        """Adam; the mapping network of a generator has its own rate."""
        t = self.train
        slow = [p for key, p in network.named_parameters() if key.split(".")[0] in ("mapping", "style")]
        fast = [p for key, p in network.named_parameters() if key.split(".")[0] not in ("mapping", "style")]
        groups = [{"params": fast}, {"params": slow, "lr": t.mapping_learning_rate}]
        return Adam(groups[: 2 if name.startswith("generator") else 1], lr=t.learning_rate, betas=(t.beta1, t.beta2))

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """DeepI2I starts from a GAN: no student of it exists."""
        raise UserError("deepi2i has no distilled student; its transfer is `scratch`")

    def start_from_teacher(self, path: Path) -> None:
        """Copy the teacher's generator, discriminator and, as encoder, its discriminator again."""
        self.model.start_from_teacher(path)

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update every direction; in the first `adaptor_iterations` steps its adaptor and discriminator only."""
        if self.images is None:
            raise RuntimeError("this method was built without images to train on")
        scalars: dict[str, Tensor] = {}
        for target in range(self.num_classes):
            t, n = self.train, self.num_classes
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
        t, direction = self.train, self.model.directions[target]
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
            wanted: Features = direction.discriminator.features(source)  # type: ignore[operator]
        return {
            "adv": losses.generator_loss(logits, self.train),
            "features": losses.feature_loss(wanted, made, self.train.feature_weights),
        }

    def ema_decay(self, step: int) -> float:
        """The configured decay: 0, hence no average, by default."""
        bound = (1 + step) / (10 + step) if self.train.ema_warm_up else 1.0
        return min(self.train.ema_decay, bound)

    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the classes y [B], in [-1, 1]; modes `latent` and `reference`."""
        return self.model.translate(x, y, mode, references)

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Eight sources and references above latent- and reference-guided translations to the other class."""
        if self.images is None:
            raise RuntimeError("this method was built without images to show")
        torch.manual_seed(0)
        y = self.images.draw_labels(8)
        targets = (y + 1) % self.num_classes
        x, references = (self.images.draw(labels, 0.0, share=False) for labels in (y, targets))
        latent = self.translate(x, targets, "latent")
        return torch.cat([x, references, latent, self.translate(x, targets, "reference", references)]), 8

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""
