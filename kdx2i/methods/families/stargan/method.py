"""The training of StarGAN v2 (`core/solver.py` of clovaai/stargan-v2) on whichever networks, and translation."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from kdx2i.methods.families.stargan.losses import (
    Guidance,
    Networks,
    Weights,
    discriminator_loss,
    frozen,
    generator_loss,
)
from kdx2i.methods.families.stargan.settings import StarGANSettings
from kdx2i.methods.translation import TranslationMethod
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast

StarGANSettingsT = TypeVar("StarGANSettingsT", bound=StarGANSettings)


class StarGANTranslation(TranslationMethod[StarGANSettingsT]):
    """A method with StarGAN v2's half-steps; a subclass has `callables`, `noise_dim` and `training_step`.

    `generator_parts` names the networks that a reference-guided half-step trains. Where the content encoder stays as it
    starts (`fixed_encoder`), the half-steps of the generator share the content of their sources.
    """

    generator_parts: tuple[str, ...] = ("generator",)
    fixed_encoder: bool = False
    noise_dim: int

    def callables(self, networks: Mapping[str, nn.Module]) -> Networks:
        """Return the functions that the objective uses, of the networks or of the averages beside a discriminator."""
        raise NotImplementedError

    def draw(self) -> tuple[Tensor, Tensor, Guidance, Guidance]:
        """Draw sources [B, 3, R, R] with labels [B], and the latent and the reference guidance of one iteration."""
        t, images = self.settings.train, self.images
        y_org, y_trg = images.draw_labels(t.batch), images.draw_labels(t.batch)
        x = images.draw(y_org, t.crop_probability)
        x_ref, x_ref2 = (images.draw(y_trg, t.crop_probability) for _ in range(2))
        z, z2 = (self.share(part) for part in torch.randn(2, t.batch, self.noise_dim))
        target = self.share(y_trg)
        return x, self.share(y_org), Guidance(target, z=z, z2=z2), Guidance(target, x_ref=x_ref, x_ref2=x_ref2)

    def translation_step(self, step: int, trained: Iterable[str]) -> dict[str, Tensor]:
        """One iteration: the discriminator, then the generator, each latent-guided, then reference-guided.

        Of the generating networks only `trained` learn, and of them only `generator_parts` when guided by references.
        The weight of the diversity falls linearly to zero from the start of translation on.
        """
        t = self.settings.train
        x, y, latent, reference = self.draw()
        remaining = max(0.0, 1.0 - (step - t.first_iterations) / t.ds_iterations)
        weights = Weights(t.lambda_reg, t.lambda_sty, t.lambda_ds * min(1.0, remaining), t.lambda_cyc)
        networks, guidances = self.callables(self.networks), {"latent": latent, "reference": reference}
        scalars: dict[str, Tensor] = {}
        with autocast(self.device, t.precision):
            with torch.no_grad():
                content = networks.encode(x)
            for name, guidance in guidances.items():
                terms = discriminator_loss(networks, x, y, guidance, weights, content)
                total = terms["total"] + self.auxiliary_loss(guidance, for_generator=False)
                step_optimizers(total, self.optimizers["discriminator"])
                scalars[f"d_{name}"] = terms["total"]
            shared = content if self.fixed_encoder else None
            for name, guidance in guidances.items():
                learning = [n for n in trained if guidance is latent or n in self.generator_parts]
                with frozen(*(network for n, network in self.networks.items() if n not in learning)):
                    terms = generator_loss(networks, x, y, guidance, weights, shared)
                    total = terms["total"] + self.auxiliary_loss(guidance, for_generator=True)
                    step_optimizers(total, *(self.optimizers[n] for n in learning))
                scalars |= {f"{term}_{name}": value for term, value in terms.items() if term != "total"}
        return scalars

    def auxiliary_loss(self, guidance: Guidance, *, for_generator: bool) -> Tensor | float:
        """Return a further term of the adversarial objectives of a half-step: nothing here."""
        return 0.0

    def _translate(self, x: Tensor, y: Tensor, references: Tensor | None) -> Tensor:
        networks = self.callables({**self.networks, **self.averages})
        if references is None:
            style = networks.mapping(torch.randn(len(x), self.noise_dim).to(self.device), y)
        else:
            style = networks.style(references, y)
        return networks.decode(networks.encode(x), style)
