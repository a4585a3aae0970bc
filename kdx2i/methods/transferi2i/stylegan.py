"""TransferI2I between two classes on StyleGAN, from its article (arXiv 2105.06219): it has no public code.

What the article leaves open is as in DeepI2I's two-class variant (protocol entry transferi2i-two-classes).
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.methods import stylegan_losses as losses
from kdx2i.methods.stylegan_method import StyleGANTranslation
from kdx2i.methods.stylegan_model import copy_trunk
from kdx2i.methods.stylegan_translation import StyleEncoder
from kdx2i.methods.transferi2i.settings import TwoClassSettings
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast
from kdx2i.training.sampling import BalancedImages


class StyleGANMethod(StyleGANTranslation):
    """TransferI2I for two classes, a direction into each; `images` is None when it only translates.

    Phases follow from the step. (1) Source-target initialisation: the teacher's GAN is fine-tuned on each class.
    (2) Self-initialisation: without data, the adaptor into a class learns to turn the features that the other
    class's discriminator has of a generated image back into those of its generator; the style encoder of a class
    learns the styles of its generator's images. (3) Translation: the encoder is the fine-tuned discriminator of the
    source class, and the plain GAN, which shares the target's generator, makes further fakes (auxiliary GAN).
    """

    def __init__(
        self,
        settings: TwoClassSettings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        if num_classes != 2:
            raise UserError(
                f"TransferI2I on StyleGAN translates between 2 classes, and this dataset has {num_classes}: "
                "its form for many classes is the one with networks.backbone biggan"
            )
        super().__init__(
            settings.networks, settings.train, resolution, num_classes, device, images, shared_encoder=False
        )
        self.settings = settings
        self.lambda_aux, self.feature_power = settings.train.lambda_aux, settings.train.feature_power

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One step of the phase that `step` belongs to; optimisers start afresh with each phase."""
        t = self.settings.train
        if step in (t.source_target_iterations, t.first_iterations):
            for optimizer in self.optimizers.values():
                optimizer.state.clear()
        if step < t.source_target_iterations:
            return self._source_target_step()
        if step == t.source_target_iterations:
            self._adopt_discriminators()
        if step < t.first_iterations:
            return self._self_initialisation_step()
        return self.translation_step()

    def ema_decay(self, step: int) -> float:
        """The configured decay from the start of translation on, before it no average."""
        since = step - self.settings.train.first_iterations
        return super().ema_decay(since) if since >= 0 else 0.0

    def _source_target_step(self) -> dict[str, Tensor]:
        """Fine-tune the GAN of each class on its images."""
        t, scalars = self.settings.train, dict[str, Tensor]()
        for target, direction in enumerate(self.model.directions):
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
    def _adopt_discriminators(self) -> None:
        """Let encoders start at the fine-tuned discriminators: of the source the encoder, of the target the style's."""
        for target, direction in enumerate(self.model.directions):
            direction.encoder.load_state_dict(self.networks[f"discriminator_{1 - target}"].state_dict())
            copy_trunk(cast(StyleEncoder, direction.style_encoder), direction.discriminator.state_dict())

    def _self_initialisation_step(self) -> dict[str, Tensor]:
        """Fit the adaptors, without data, to the generators' features of their own images: L1, summed over resolutions.

        The images of a class serve the adaptor that translates from it, and the style encoder of the class itself.
        """
        scalars: dict[str, Tensor] = {}
        for source, made in enumerate(self.model.directions):
            target, direction = 1 - source, self.model.directions[1 - source]
            with autocast(self.device, self.settings.train.precision):
                with torch.no_grad():
                    w = made.style(self.noise(1)[0])
                    image, wanted = made.generate(w)
                    encoded = direction.encode(image)
                # The adaptor's own output, as in the many-class form: the weights of the additions come on top.
                found = direction.adaptor(encoded)
                adaptor_loss = torch.stack([F.l1_loss(found[r], wanted[r]) for r in sorted(found)]).sum()
                step_optimizers(adaptor_loss, *self.optimizers_for(target, "adaptor"))
                style_loss = F.l1_loss(made.style_of(image), w)
                step_optimizers(style_loss, *self.optimizers_for(source, "style_encoder"))
            scalars |= {f"self_adaptor_{target}": adaptor_loss, f"self_style_{source}": style_loss}
        return scalars
