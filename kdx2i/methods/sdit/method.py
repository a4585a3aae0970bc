"""SDIT in training (`solver.py`) and translation: a latent-guided baseline from scratch."""

import torch
from torch import Tensor

from kdx2i.methods.sdit.losses import Weights, discriminator_loss, generator_loss
from kdx2i.methods.sdit.networks import STYLE_DIM, AttentionGenerator, Discriminator, PlainGenerator
from kdx2i.methods.sdit.settings import MODES, Settings
from kdx2i.methods.translation import TranslationMethod, averages_of
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place
from kdx2i.training.sampling import BalancedImages


class Method(TranslationMethod):
    """SDIT for `num_classes` domains at one resolution; `images` is None when it only translates.

    The generator translates in training mode, as the official test does: its instance norms then use each
    image's own statistics. The style regressor of the discriminator is never trained, which is official too.
    """

    modes = MODES

    def __init__(
        self,
        settings: Settings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        super().__init__(settings.train, num_classes, device, images)
        n, t = settings.networks, settings.train
        self.settings = settings
        kind = AttentionGenerator if n.attention else PlainGenerator
        generator = kind(n.width, num_classes, n.encoder_blocks, n.adain_blocks, n.width, STYLE_DIM, n.mlp_dim)
        discriminator = Discriminator(resolution, n.width, num_classes, resolution.bit_length() - 2)
        self.networks = {
            "generator": place(generator, device),
            "discriminator": place(discriminator, device),
        }
        # The style regressor keeps its random start: only the generator's step has its loss.
        discriminator.conv3.requires_grad_(False)
        discriminator.mlp.requires_grad_(False)
        self.averages = averages_of(self.networks, ["generator"])
        self.averages["generator"].train()
        self.optimizers = {
            name: adam([p for p in network.parameters() if p.requires_grad], t.learning_rate, (t.beta1, t.beta2))
            for name, network in self.networks.items()
        }

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
        first, second = (shard(torch.randn(t.batch, STYLE_DIM)).to(self.device) for _ in range(2))
        mix = shard(torch.rand(t.batch, 1, 1, 1)).to(self.device)
        labels, targets = shard(labels).to(self.device), shard(targets).to(self.device)
        source, target = self.one_hot(labels), self.one_hot(targets)
        discriminate = self.networks["discriminator"]
        with autocast(self.device, t.precision):
            with torch.no_grad():
                fake = self._generate(x, target, first)
            terms = discriminator_loss(discriminate, x, labels, fake, mix, weights)
            step_optimizers(terms["total"], self.optimizers["discriminator"])
            scalars = {f"d_{name}": value for name, value in terms.items() if name != "total"}
            if (step + 1) % t.critic_updates == 0:
                made = generator_loss(
                    self._generate, discriminate, x, (source, target), targets, (first, second), weights
                )
                step_optimizers(made["total"], self.optimizers["generator"])
                scalars |= {f"g_{name}": value for name, value in made.items() if name != "total"}
        return scalars

    @torch.no_grad()
    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the domains y [B] with random styles, in [-1, 1]; mode `latent` only."""
        if mode != "latent":
            raise ValueError(f"sdit has no mode `{mode}`")
        style = torch.randn(len(x), STYLE_DIM).to(self.device)
        image: Tensor = self.averages["generator"](x.to(self.device), self.one_hot(y), style)[0]
        return image
