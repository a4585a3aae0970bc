"""OASIS in training (`train.py` of boschresearch/OASIS) and generation: a baseline from scratch."""

from functools import cached_property

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.label_maps.blocks import initialise_xavier, settle
from kdx2i.methods.families.label_maps.method import LabelMapMethod
from kdx2i.methods.families.label_maps.perceptual import PerceptualLoss, build_perceptual
from kdx2i.methods.oasis.losses import Balance, discriminator_loss, generator_loss, labelmix_mask
from kdx2i.methods.oasis.networks import SMALLEST_SIDE, Discriminator, Generator
from kdx2i.methods.oasis.settings import Settings
from kdx2i.methods.translation import averages_of
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast, place


class Method(LabelMapMethod[Settings]):
    """OASIS: the generator, its average, and the discriminator that segments.

    Images are made by the average, in evaluation mode, with fresh noise for each.
    """

    unknown = "first"

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        super().__init__(setup)
        n, t = self.settings.networks, self.settings.train
        if setup.resolution % SMALLEST_SIDE:
            raise UserError(f"oasis needs a resolution that is a multiple of {SMALLEST_SIDE}, not {setup.resolution}")
        generator = Generator(
            n.channels_g,
            n.semantic_nc,
            n.z_dim,
            setup.resolution,
            no_3dnoise=n.no_3dnoise,
            spade_ks=n.spade_ks,
            param_free_norm=n.param_free_norm,
            no_spectral_norm=n.no_spectral_norm,
            hidden=n.hidden,
        )
        discriminator = Discriminator(n.semantic_nc, no_spectral_norm=n.no_spectral_norm, channels=(3, *n.channels_d))
        networks = {"generator": generator, "discriminator": discriminator}
        self.networks = {name: place(initialise_xavier(net), self.device) for name, net in networks.items()}
        self.averages = averages_of(self.networks, ["generator"])
        settle(self.averages["generator"])
        rates = {"generator": t.generator_rate, "discriminator": t.discriminator_rate}
        self.optimizers = {name: self.adam((name,), rate, (t.beta1, t.beta2)) for name, rate in rates.items()}
        self.balance = Balance(t.balanced, n.dont_care)

    @cached_property
    def perceptual(self) -> PerceptualLoss:
        """The perceptual loss; `UserError` where its weights are missing."""
        return build_perceptual(self.settings.train, self.device)

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update the generator, then the discriminator on a fake of other noise, each in training mode."""
        n, t = self.settings.networks, self.settings.train
        real, maps = self.draw(t.batch)
        noises = [self.share(torch.randn(t.batch, n.z_dim)) for _ in range(2)]
        coins = torch.randint(0, 2, (n.semantic_nc,))
        generator, discriminate = self.networks["generator"], self.networks["discriminator"]
        with autocast(self.device, t.precision):
            terms = generator_loss(
                discriminate,
                maps,
                generator(maps, noises[0]),
                real,
                balance=self.balance,
                perceptual=self.perceptual if t.add_vgg_loss else None,
                lambda_vgg=t.lambda_vgg,
            )
            step_optimizers(terms["total"], self.optimizers["generator"])
            scalars = {f"g_{name}": value for name, value in terms.items() if name != "total"}
            with torch.no_grad():
                fake = generator(maps, noises[1])
            mask = None
            if t.labelmix != "off":
                mask = labelmix_mask(maps, coins, independent=t.labelmix == "independent")
            terms = discriminator_loss(
                discriminate, maps, fake, real, balance=self.balance, mask=mask, lambda_labelmix=t.lambda_labelmix
            )
            step_optimizers(terms["total"], self.optimizers["discriminator"])
        return scalars | {f"d_{name}": value for name, value in terms.items() if name != "total"}

    @torch.no_grad()
    def refresh_statistics(self) -> None:
        """Let the average see training batches in training mode (`update_EMA` of `utils/utils.py`).

        Its batch-norm statistics and spectral vectors then belong to its own weights and not to the network's, of which
        the loop copies them after each update.
        """
        average, t = self.averages["generator"].train(), self.settings.train
        for _ in range(t.statistics_batches):
            _, maps = self.draw(t.batch)
            average(maps)
        average.eval()

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Refresh the average's statistics, as the official code does before it draws or saves, then show images.

        The loop ends with a preview, so what a run keeps is refreshed; seeds are fixed, so it is the same each time.
        """
        torch.manual_seed(0)
        self.refresh_statistics()
        return super().preview()

    def _generate(self, condition: LabelMapCondition) -> Tensor:
        maps = self.one_hot(condition)
        noise = torch.randn(len(maps), self.settings.networks.z_dim).to(self.device)
        image: Tensor = self.averages["generator"](maps, noise)
        return image
