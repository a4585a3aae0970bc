"""SPADE in training (`trainers/pix2pix_trainer.py` of NVlabs/SPADE) and generation: a baseline from scratch."""

from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.label_maps.blocks import initialise_xavier, settle
from kdx2i.methods.families.label_maps.discriminator import MultiscaleDiscriminator
from kdx2i.methods.families.label_maps.method import LabelMapMethod
from kdx2i.methods.families.label_maps.objectives import Weights, discriminator_loss, generator_loss
from kdx2i.methods.families.label_maps.perceptual import PerceptualLoss, build_perceptual
from kdx2i.methods.families.paired.method import set_rate
from kdx2i.methods.spade.networks import CODE, DOUBLINGS, ENCODER_SIDE, Encoder, Generator
from kdx2i.methods.spade.settings import Settings
from kdx2i.methods.translation import averages_of
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast, place


class Method(LabelMapMethod[Settings]):
    """SPADE: the generator, with `use_vae` the encoder, and the multi-scale discriminator.

    The official code keeps no averages, and neither do the default settings: `ema_decay` is 0, so that they equal the
    networks. Images are made in evaluation mode, of the running statistics.
    """

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        super().__init__(setup)
        n = self.settings.networks
        self._check(setup.resolution)
        generator = Generator(
            n.ngf,
            n.semantic_nc,
            setup.resolution,
            num_upsampling_layers=n.num_upsampling_layers,
            use_vae=n.use_vae,
            z_dim=n.z_dim,
            norm_G=n.norm_g,
            hidden=n.hidden,
        )
        discriminator = MultiscaleDiscriminator(n.semantic_nc + 3, n.ndf, n.num_d, n.n_layers_d, n.norm_d)
        networks = {"generator": generator, "discriminator": discriminator}
        if n.use_vae:
            networks["encoder"] = Encoder(n.ngf, setup.resolution, n.norm_e)
        self.networks = {name: place(initialise_xavier(net), self.device) for name, net in networks.items()}
        self.averages = averages_of(self.networks, ["generator"])
        settle(self.averages["generator"])
        rates, betas = self.settings.train.rates, self.settings.train.betas
        generating = ("generator", "encoder") if n.use_vae else ("generator",)
        self.optimizers = {
            "generator": self.adam(generating, rates[0], betas),
            "discriminator": self.adam(("discriminator",), rates[1], betas),
        }

    def _check(self, resolution: int) -> None:
        """Refuse sizes for which there are no official networks."""
        n = self.settings.networks
        if resolution % 2 ** DOUBLINGS[n.num_upsampling_layers]:
            raise UserError(
                f"spade with `num_upsampling_layers: {n.num_upsampling_layers}` needs a resolution that is a multiple "
                f"of {2 ** DOUBLINGS[n.num_upsampling_layers]}, not {resolution}"
            )
        if n.use_vae and (resolution < ENCODER_SIDE or n.z_dim != CODE):
            raise UserError(
                f"spade with `use_vae` needs {ENCODER_SIDE} px or more and `z_dim: {CODE}`, as its encoder does"
            )

    @cached_property
    def perceptual(self) -> PerceptualLoss:
        """The perceptual loss; `UserError` where its weights are missing."""
        return build_perceptual(self.settings.train, self.device)

    def _fake(self, maps: Tensor, code: tuple[Tensor, Tensor] | None, noise: Tensor | None) -> Tensor:
        z = None
        if code is not None and noise is not None:
            z = code[0] + noise * (0.5 * code[1]).exp()
        image: Tensor = self.networks["generator"](maps, z)
        return image

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update generator and encoder, then the discriminator on a fake of the updated ones."""
        n, t = self.settings.networks, self.settings.train
        real, maps = self.draw(t.batch)
        noises = [self.share(torch.randn(t.batch, n.z_dim)) if n.use_vae else None for _ in range(2)]
        discriminator = cast(MultiscaleDiscriminator, self.networks["discriminator"])
        self._set_rates(step)
        with autocast(self.device, t.precision):
            code = self.networks["encoder"](real) if n.use_vae else None
            terms = generator_loss(
                discriminator,
                maps,
                self._fake(maps, code, noises[0]),
                real,
                weights=Weights(t.lambda_feat, t.lambda_vgg, t.lambda_kld),
                perceptual=self.perceptual if t.lambda_vgg else None,
                code=code,
                mode=t.gan_mode,
            )
            step_optimizers(terms["total"], self.optimizers["generator"])
            scalars = {f"g_{name}": value for name, value in terms.items() if name != "total"}
            with torch.no_grad():
                code = self.networks["encoder"](real) if n.use_vae else None
                fake = self._fake(maps, code, noises[1])
            terms = discriminator_loss(discriminator, maps, fake, real, mode=t.gan_mode)
            step_optimizers(terms["total"], self.optimizers["discriminator"])
        return scalars | {f"d_{name}": value for name, value in terms.items() if name != "total"}

    def _set_rates(self, step: int) -> None:
        """Let both rates fall linearly to zero in the last `decay_iterations`."""
        t = self.settings.train
        left = (t.iterations - step) / t.decay_iterations if t.decay_iterations else 1.0
        for name, rate in zip(("generator", "discriminator"), t.rates, strict=True):
            set_rate(self.optimizers[name], rate * min(1.0, left))

    def _generate(self, condition: LabelMapCondition) -> Tensor:
        maps, n = self.one_hot(condition), self.settings.networks
        z = torch.randn(len(maps), n.z_dim).to(self.device) if n.use_vae else None
        image: Tensor = self.averages["generator"](maps, z)
        return image
