"""TransferI2I between two classes on StyleGAN, from its article (arXiv 2105.06219): it has no public code.

What the article leaves open is as in DeepI2I's two-class variant (protocol entry transferi2i-two-classes).
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.stylegan import losses
from kdx2i.methods.families.stylegan.method import StyleGANTranslation
from kdx2i.methods.families.stylegan.networks import StyleEncoder
from kdx2i.methods.families.three_phases.method import ThreePhases
from kdx2i.methods.transferi2i.settings import OnStyleGAN
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast


class StyleGANMethod(ThreePhases, StyleGANTranslation[OnStyleGAN]):
    """TransferI2I for two classes, a GAN for each and a direction into each.

    The style encoder of a class learns the styles of its generator's images in the second phase. In the third, the
    encoder is the fine-tuned discriminator of the source class. `UserError` for another number of classes.
    """

    shared_encoder = False

    def __init__(self, setup: MethodSetup[OnStyleGAN]) -> None:
        if setup.num_classes != 2:
            raise UserError(
                f"TransferI2I on StyleGAN translates between 2 classes, and this dataset has {setup.num_classes}: "
                "its form for many classes is the one with networks.backbone biggan"
            )
        super().__init__(setup)
        t = self.settings.train
        self.lambda_aux, self.feature_power, self.averages_start = t.lambda_aux, t.feature_power, t.first_iterations

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One step of the phase that `step` belongs to."""
        return self.phase_step(step, self.settings.train)

    def source_target_step(self) -> dict[str, Tensor]:
        """Fine-tune the GAN of each class on its images."""
        t, scalars = self.settings.train, dict[str, Tensor]()
        for target, direction in enumerate(self.directions):
            real = self.images.draw(torch.full((t.batch,), target), t.crop_probability)
            with autocast(self.device, t.precision):
                with torch.no_grad():
                    fake = self.generated(direction)
                d_loss = losses.discriminator_loss(self.logits(direction), real, fake, t)
                step_optimizers(d_loss, *self.optimizers_for(target, "discriminator"))
                g_loss = losses.generator_loss(direction.examine(self.generated(direction))[0], t)
                step_optimizers(g_loss, *self.optimizers_for(target, "generator"))
            scalars |= {f"d_gan_{target}": d_loss, f"g_gan_{target}": g_loss}
        return scalars

    @torch.no_grad()
    def adopt_discriminators(self) -> None:
        """Let encoders start at the fine-tuned discriminators: of the source the encoder, of the target the style's."""
        for target, direction in enumerate(self.directions):
            direction.encoder.load_state_dict(self.networks[f"discriminator_{1 - target}"].state_dict())
            cast(StyleEncoder, direction.style_encoder).take_over(direction.discriminator.state_dict())

    def self_initialisation_step(self) -> dict[str, Tensor]:
        """Fit the adaptors, without data, to the generators' features of their own images: L1, summed over resolutions.

        The images of a class serve the adaptor that translates from it, and the style encoder of the class itself.
        """
        scalars: dict[str, Tensor] = {}
        for source, drawn in enumerate(self.directions):
            target, direction = 1 - source, self.directions[1 - source]
            with autocast(self.device, self.settings.train.precision):
                with torch.no_grad():
                    w = drawn.style(self.noise(1)[0])
                    image, own = drawn.generate(w)
                    encoded = direction.encode(image)
                # The adaptor's own output, as in the many-class form: the weights of the additions come on top.
                adapted = direction.adaptor(encoded)
                adaptor_loss = torch.stack([F.l1_loss(adapted[r], own[r]) for r in sorted(adapted)]).sum()
                step_optimizers(adaptor_loss, *self.optimizers_for(target, "adaptor"))
                style_loss = F.l1_loss(drawn.style_of(image), w)
                step_optimizers(style_loss, *self.optimizers_for(source, "style_encoder"))
            scalars |= {f"self_adaptor_{target}": adaptor_loss, f"self_style_{source}": style_loss}
        return scalars

    def last_phase_step(self, step: int) -> dict[str, Tensor]:
        """Update every direction: discriminator, adaptor and generator, style encoder."""
        return self.translation_step()
