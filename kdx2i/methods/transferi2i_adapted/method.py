"""TransferI2I* (Appendix B.3): TransferI2I's three phases on the networks of the adapted baselines."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.methods.families.adapted.method import LEARNING, AdaptedTranslation
from kdx2i.methods.families.adapted.networks import BranchedDiscriminator, Decoder
from kdx2i.methods.families.stargan.losses import Guidance, adversarial_loss, r1_penalty
from kdx2i.methods.families.stylegan.networks import StyleEncoder, part_of
from kdx2i.methods.families.three_phases.method import ThreePhases
from kdx2i.methods.transferi2i_adapted.settings import Settings
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast

PLAIN_GAN = ("beginning", "decoder", "mapping_network")


class Method(ThreePhases, AdaptedTranslation[Settings]):
    """TransferI2I's phases, with the new blocks as adaptor.

    The plain GAN, whose mapping network is copied for each class, shares decoder and mapping network with the
    translator. Its first layers are `beginning`.
    """

    plain_gan = True

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One step of the phase that `step` belongs to."""
        return self.phase_step(step, self.settings.train)

    def last_phase_step(self, step: int) -> dict[str, Tensor]:
        """Translation, with the plain GAN's images as further fakes."""
        return self.translation_step(step, (*LEARNING, "beginning"))

    def auxiliary_loss(self, guidance: Guidance, *, for_generator: bool) -> Tensor | float:
        """The plain GAN's images as further fakes of the latent half-step, with the weight lambda_aux."""
        weight = self.settings.train.lambda_aux
        if guidance.z is None or weight == 0:
            return 0.0
        with torch.set_grad_enabled(for_generator):
            image, _ = self._generate(self.networks["mapping_network"](guidance.z, guidance.y_trg))
        logits = self.networks["discriminator"](image, guidance.y_trg)
        return weight * adversarial_loss(logits, for_generator)

    def _generate(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """w [B, w_dim] -> the plain GAN's image and its feature at the bottleneck."""
        feature, image = self.networks["beginning"](w)
        return self.networks["decoder"](feature, w, image), feature

    def _draw_styles(self) -> tuple[Tensor, Tensor]:
        """Draw classes [B] and a style of each [B, w_dim]."""
        t = self.settings.train
        y = self.share(self.images.draw_labels(t.batch))
        z = self.share(torch.randn(t.batch, self.noise_dim))
        return y, self.networks["mapping_network"](z, y)

    def source_target_step(self) -> dict[str, Tensor]:
        """Fine-tune the GAN on the images and their classes: logistic loss and R1, as StarGAN v2's."""
        t, discriminator = self.settings.train, self.networks["discriminator"]
        labels = self.images.draw_labels(t.batch)
        x, y = self.images.draw(labels, t.crop_probability).requires_grad_(), self.share(labels)
        with autocast(self.device, t.precision):
            with torch.no_grad():
                target, w = self._draw_styles()
                fake = self._generate(w)[0]
            logits = discriminator(x, y)
            penalty = r1_penalty(logits, x)
            d_loss = adversarial_loss(logits, True) + adversarial_loss(discriminator(fake, target), False)
            step_optimizers(d_loss + t.lambda_reg * penalty, self.optimizers["discriminator"])
            target, w = self._draw_styles()
            g_loss = adversarial_loss(discriminator(self._generate(w)[0], target), True)
            step_optimizers(g_loss, *(self.optimizers[name] for name in PLAIN_GAN))
        return {"d_gan": d_loss, "g_gan": g_loss}

    @torch.no_grad()
    def adopt_discriminators(self) -> None:
        """Let the encoders start at the fine-tuned discriminator (D_X of the source)."""
        state = cast(BranchedDiscriminator, self.networks["discriminator"]).trunk.state_dict()
        self.networks["encoder"].load_state_dict(part_of(state, self.networks["encoder"]))
        cast(StyleEncoder, self.networks["style_encoder"]).take_over(state)

    def self_initialisation_step(self) -> dict[str, Tensor]:
        """Fit the blocks, without data, to the generator's features of its own images: an L1 distance.

        The decoder's first ToRGB learns to give the image that the generator has there, of which the teacher's
        layers before it drew a part; the style encoder's branches learn the styles of the same images.
        """
        t, decoder = self.settings.train, cast(Decoder, self.networks["decoder"])
        with autocast(self.device, t.precision):
            with torch.no_grad():
                y, w = self._draw_styles()
                feature, first_image = self.networks["beginning"](w)
                image = decoder(feature, w, first_image)
                encoded = self.networks["encoder"](image)
            adapted = self.networks["blocks"](encoded, w)
            block_loss = F.l1_loss(adapted, feature)
            image_loss = F.l1_loss(decoder.first_image(adapted, w), first_image)
            step_optimizers(block_loss + image_loss, self.optimizers["blocks"], self.optimizers["decoder"])
            style_loss = F.l1_loss(self.networks["style_encoder"](image, y), w)
            step_optimizers(style_loss, self.optimizers["style_encoder"])
        return {"self_blocks": block_loss, "self_image": image_loss, "self_style": style_loss}
