"""What DeepI2I and TransferI2I on StyleGAN share: the models of all directions, their start, updates and translation.

The official code trains one model for each direction. Here a run holds one model for each target class, side by
side, so that one run answers for all directions (protocol entry stylegan-directions). Every step updates the model of
each direction once, with a batch of its own.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.stylegan import losses
from kdx2i.methods.families.stylegan.backbone import Backbone
from kdx2i.methods.families.stylegan.direction import Direction, mixed_styles
from kdx2i.methods.families.stylegan.networks import StyleEncoder
from kdx2i.methods.families.stylegan.settings import StyleGANSettings
from kdx2i.methods.translation import TranslationMethod, averages_of
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place

MAPPING_PARTS = ("mapping", "style")
"""The names of the mapping network in generators of both backbones."""

StyleGANSettingsT = TypeVar("StyleGANSettingsT", bound=StyleGANSettings)


class StyleGANTranslation(TranslationMethod[StyleGANSettingsT]):
    """A direction into each of the classes on a StyleGAN backbone; a subclass has `training_step`.

    `networks` are `generator_<c>`, `adaptor_<c>`, `discriminator_<c>`, `style_encoder_<c>` and, frozen, one
    `encoder` for all directions or (without `shared_encoder`) `encoder_<c>` of the images translated into c.
    `lambda_aux` is the weight of further fakes: images of the same generator without a source.
    """

    shared_encoder: bool = True
    lambda_aux: float = 0.0
    feature_power: int = 2

    def __init__(self, setup: MethodSetup[StyleGANSettingsT]) -> None:
        super().__init__(setup)
        self.backbone = Backbone(self.settings.networks, setup.resolution)
        makers: dict[str, Callable[[], nn.Module]] = {
            "generator": self.backbone.generator,
            "adaptor": self.backbone.adaptor,
            "discriminator": self.backbone.discriminator,
            "style_encoder": self.backbone.style_encoder,
        }
        classes = range(self.num_classes)
        self.encoders = ["encoder"] if self.shared_encoder else [f"encoder_{target}" for target in classes]
        built = {name: self.backbone.discriminator().requires_grad_(False) for name in self.encoders}
        for target in classes:
            built |= {f"{name}_{target}": make() for name, make in makers.items()}
        self.networks = {name: place(module, self.device) for name, module in built.items()}
        translating = [f"{name}_{target}" for name in makers if name != "discriminator" for target in classes]
        # Encoders are frozen: each is its own average.
        frozen = {name: self.networks[name] for name in self.encoders}
        self.averages = averages_of(self.networks, translating) | frozen
        self.directions = [self._direction(self.networks, target) for target in classes]
        self.averaged = [self._direction({**self.networks, **self.averages}, target) for target in classes]
        self.optimizers = {
            name: self._adam(name, module) for name, module in self.networks.items() if name not in self.encoders
        }

    def _direction(self, networks: Mapping[str, nn.Module], target: int) -> Direction:
        n = self.settings.networks
        names = ("adaptor", "generator", "discriminator", "style_encoder")
        parts = {name: networks[f"{name}_{target}"] for name in names}
        encoder = networks["encoder" if self.shared_encoder else f"encoder_{target}"]
        return Direction(encoder=encoder, **parts, weights=n.addition_weights, noise=n.noise)

    def _adam(self, name: str, network: nn.Module) -> Optimizer:
        """Return Adam for a network; the mapping network of a generator has its own rate."""
        t = self.settings.train
        parts: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for key, parameter in network.named_parameters():
            parts[key.split(".")[0] in MAPPING_PARTS].append(parameter)
        groups = [{"params": parts[False], "lr": t.learning_rate}]
        if name.startswith("generator"):
            groups.append({"params": parts[True], "lr": t.mapping_learning_rate})
        return adam(groups, t.learning_rate, (t.beta1, t.beta2))

    def start_from_teacher(self, path: Path) -> None:
        """Copy the teacher's generator, discriminator and, as encoder, its discriminator again, for every direction.

        The adaptors keep their random start. `UserError` when the teacher is not of this run's form and sizes.
        """
        generator, discriminator, mean_style = self.backbone.read_teacher(path)
        for name in self.encoders:
            self.networks[name].load_state_dict(dict(discriminator))
        for direction in self.directions:
            direction.generator.load_state_dict(dict(generator))
            direction.discriminator.load_state_dict(dict(discriminator))
            cast(StyleEncoder, direction.style_encoder).take_over(discriminator, mean_style)
        self.copy_to_averages()

    def optimizers_for(self, target: int, *names: str) -> list[torch.optim.Optimizer]:
        """Return the optimisers of these networks of one direction."""
        return [self.optimizers[f"{name}_{target}"] for name in names]

    def noise(self, count: int) -> list[Tensor]:
        """Draw `count` batches of noise [B, z_dim], this process's share of each."""
        drawn = torch.randn(count, self.settings.train.batch, self.settings.networks.z_dim)
        return [self.share(part) for part in drawn]

    def logits(self, direction: Direction) -> losses.Logits:
        """Return the discriminator of a direction as a function: images -> logits [B]."""
        return lambda x: direction.examine(x)[0]

    def generated(self, direction: Direction) -> Tensor:
        """Return a batch of images of the plain GAN, from fresh noise and with mixed styles."""
        z, z2 = self.noise(2)
        return direction.generate(mixed_styles(direction, z, z2, self.settings.train.mixing_probability))[0]

    def translation_step(self, *, trains_generator: bool = True) -> dict[str, Tensor]:
        """Update every direction: discriminator, then adaptor (and generator), then the style encoder."""
        scalars: dict[str, Tensor] = {}
        for target in range(self.num_classes):
            t, n = self.settings.train, self.num_classes
            labels = torch.full((t.batch,), target)
            real = self.images.draw(labels, t.crop_probability)
            source = self.images.draw((labels + torch.randint(1, n, (t.batch,))) % n, t.crop_probability)
            z = self.noise(4)
            with autocast(self.device, t.precision):
                terms = self._update(target, real, source, z, trains_generator=trains_generator)
            scalars |= {f"{name}_{target}": value for name, value in terms.items()}
        return scalars

    def _update(
        self, target: int, real: Tensor, source: Tensor, z: list[Tensor], *, trains_generator: bool
    ) -> dict[str, Tensor]:
        """Update one direction: discriminator, then adaptor (and generator), then the style encoder."""
        t, direction = self.settings.train, self.directions[target]
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
        t = self.settings.train
        logits, translated = direction.examine(fake)
        with torch.no_grad():
            of_source = direction.features(source)
        return {
            "adv": losses.generator_loss(logits, t),
            "features": losses.feature_loss(of_source, translated, t.feature_weights, self.feature_power),
        }

    def _translate(self, x: Tensor, y: Tensor, references: Tensor | None) -> Tensor:
        # For a latent guidance each sample's noise stands in the place of its reference.
        given = torch.randn(len(x), self.settings.networks.z_dim).to(self.device) if references is None else references
        images = torch.empty_like(x)
        for target in sorted(set(y.tolist())):
            chosen, direction = torch.nonzero(y == target).flatten(), self.averaged[target]
            w = (direction.style if references is None else direction.style_of)(given[chosen])
            images[chosen] = direction.translate(x[chosen], w).to(images.dtype)
        return images
