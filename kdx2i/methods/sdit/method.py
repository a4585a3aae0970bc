"""SDIT in training (`solver.py` of yaxingwang/SDIT) and translation: a latent-guided baseline from scratch."""

import torch
from torch import Tensor

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.sdit import ARCHITECTURE
from kdx2i.methods.sdit.losses import Weights, discriminator_loss, generator_loss
from kdx2i.methods.sdit.networks import STYLE_DIM, AttentionGenerator, Discriminator, PlainGenerator
from kdx2i.methods.sdit.settings import Settings
from kdx2i.methods.translation import TranslationMethod, averages_of
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast, place


class Method(TranslationMethod[Settings]):
    """SDIT.

    The generator translates in training mode, as the official test does: its instance norms then use each
    image's own statistics. The style regressor of the discriminator is never trained, which is official too.
    """

    guidances = ARCHITECTURE.modes

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        super().__init__(setup)
        n, t, num_classes, resolution = self.settings.networks, self.settings.train, self.num_classes, setup.resolution
        kind = AttentionGenerator if n.attention else PlainGenerator
        generator = kind(n.width, num_classes, n.encoder_blocks, n.adain_blocks, n.width, STYLE_DIM, n.mlp_dim)
        discriminator = Discriminator(resolution, n.width, num_classes, resolution.bit_length() - 2)
        self.networks = {
            "generator": place(generator, self.device),
            "discriminator": place(discriminator, self.device),
        }
        # The style regressor keeps its random start: only the generator's step has its loss.
        discriminator.conv3.requires_grad_(False)
        discriminator.mlp.requires_grad_(False)
        self.averages = averages_of(self.networks, ["generator"])
        self.averages["generator"].train()
        self.optimizers = self.adams(dict.fromkeys(self.networks, t.learning_rate))

    def _generate(self, x: Tensor, domain: Tensor, style: Tensor) -> Tensor:
        image: Tensor = self.networks["generator"](x, domain, style)[0]
        return image

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update the discriminator, and the generator at every `critic_updates`-th step."""
        t = self.settings.train
        weights = Weights(t.lambda_cls, t.lambda_gp, t.lambda_rec, t.lambda_noise)
        labels = self.images.draw_labels(t.batch)
        x = self.images.draw(labels, t.crop_probability)
        targets = labels[torch.randperm(t.batch)]
        first, second = (self.share(torch.randn(t.batch, STYLE_DIM)) for _ in range(2))
        mix = self.share(torch.rand(t.batch, 1, 1, 1))
        labels, targets = self.share(labels), self.share(targets)
        source, target = self.one_hot(labels), self.one_hot(targets)
        discriminate = self.networks["discriminator"]
        with autocast(self.device, t.precision):
            with torch.no_grad():
                fake = self._generate(x, target, first)
            terms = discriminator_loss(discriminate, x, labels, fake, mix, weights)
            step_optimizers(terms["total"], self.optimizers["discriminator"])
            scalars = {f"d_{name}": value for name, value in terms.items() if name != "total"}
            if (step + 1) % t.critic_updates == 0:
                styles = (first, second if t.cycle_style == "redrawn" else first)
                terms = generator_loss(self._generate, discriminate, x, (source, target), targets, styles, weights)
                step_optimizers(terms["total"], self.optimizers["generator"])
                scalars |= {f"g_{name}": value for name, value in terms.items() if name != "total"}
        return scalars

    def _translate(self, x: Tensor, y: Tensor, references: Tensor | None) -> Tensor:
        style = torch.randn(len(x), STYLE_DIM).to(self.device)
        image: Tensor = self.averages["generator"](x, self.one_hot(y), style)[0]
        return image
