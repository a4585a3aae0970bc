"""SDIT in training (`solver.py`) and translation: a latent-guided baseline from scratch."""

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.sdit.losses import Weights, discriminator_loss, generator_loss
from kdx2i.methods.sdit.networks import STYLE_DIM, AttentionGenerator, Discriminator, PlainGenerator
from kdx2i.methods.sdit.settings import Settings
from kdx2i.training.distributed import shard
from kdx2i.training.loop import step_optimizers
from kdx2i.training.precision import autocast, place
from kdx2i.training.sampling import BalancedImages


class Method:
    """SDIT for `num_classes` domains at one resolution; `images` is None when it only translates.

    The generator translates in training mode, as the official test does: its instance norms then use each
    image's own statistics. The style regressor of the discriminator is never trained, which is official too.
    """

    def __init__(
        self,
        settings: Settings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        n, t = settings.networks, settings.train
        self.settings, self.images, self.device, self.num_classes = settings, images, device, num_classes
        kind = AttentionGenerator if n.attention else PlainGenerator
        generator = kind(n.width, num_classes, n.encoder_blocks, n.adain_blocks, n.width, STYLE_DIM, n.mlp_dim)
        discriminator = Discriminator(resolution, n.width, num_classes, resolution.bit_length() - 2)
        self.networks: Mapping[str, nn.Module] = {
            "generator": place(generator, device),
            "discriminator": place(discriminator, device),
        }
        # The style regressor keeps its random start: only the generator's step has its loss.
        discriminator.conv3.requires_grad_(False)
        discriminator.mlp.requires_grad_(False)
        self.averages: Mapping[str, nn.Module] = {
            "generator": copy.deepcopy(self.networks["generator"]).requires_grad_(False)
        }
        self.optimizers: Mapping[str, Optimizer] = {
            name: Adam(
                [p for p in network.parameters() if p.requires_grad], lr=t.learning_rate, betas=(t.beta1, t.beta2)
            )
            for name, network in self.networks.items()
        }

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """SDIT is a baseline from scratch: no student of it exists."""
        raise UserError("sdit has no distilled student; its transfer is `scratch`")

    def _one_hot(self, labels: Tensor) -> Tensor:
        return F.one_hot(labels, self.num_classes).float().to(self.device)

    def _generate(self, x: Tensor, domain: Tensor, style: Tensor) -> Tensor:
        image: Tensor = self.networks["generator"](x, domain, style)[0]
        return image

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update the discriminator, and the generator at every `critic_updates`-th step."""
        if self.images is None:
            raise RuntimeError("this method was built without images to train on")
        t = self.settings.train
        weights = Weights(t.lambda_cls, t.lambda_gp, t.lambda_rec, t.lambda_noise)
        labels = self.images.draw_labels(t.batch)
        x = self.images.draw(labels, t.crop_probability)
        targets = labels[torch.randperm(t.batch)]
        first, second = (shard(torch.randn(t.batch, STYLE_DIM)).to(self.device) for _ in range(2))
        mix = shard(torch.rand(t.batch, 1, 1, 1)).to(self.device)
        labels, targets = shard(labels).to(self.device), shard(targets).to(self.device)
        source, target = self._one_hot(labels), self._one_hot(targets)
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

    def ema_decay(self, step: int) -> float:
        """The configured decay: 0, hence no average, by default."""
        bound = (1 + step) / (10 + step) if self.settings.train.ema_warm_up else 1.0
        return min(self.settings.train.ema_decay, bound)

    @torch.no_grad()
    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the domains y [B] with random styles, in [-1, 1]; mode `latent` only."""
        if mode != "latent":
            raise ValueError(f"sdit has no mode `{mode}`")
        style = torch.randn(len(x), STYLE_DIM).to(self.device)
        generator = self.averages["generator"].train()
        image: Tensor = generator(x.to(self.device), self._one_hot(y), style)[0]
        return image

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Eight sources above two translations of each to random domains."""
        if self.images is None:
            raise RuntimeError("this method was built without images to show")
        torch.manual_seed(0)
        labels, targets = self.images.draw_labels(8), self.images.draw_labels(8)
        x = self.images.draw(labels, 0.0, share=False)
        return torch.cat([x, *(self.translate(x, targets, "latent") for _ in range(2))]), 8

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""
