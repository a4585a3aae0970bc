"""TransferI2I* (Appendix B.3): TransferI2I's three phases on the networks of the adapted baselines."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.methods.adapted import GENERATOR, AdaptedMethod
from kdx2i.methods.adapted_networks import BranchedDiscriminator, Decoder, StyleEncoder, part_of
from kdx2i.methods.stargan_losses import Guidance, adversarial_loss, r1_penalty
from kdx2i.methods.transferi2i_adapted.settings import Settings
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast
from kdx2i.training.sampling import BalancedImages

PLAIN_GAN = ("beginning", "decoder", "mapping_network")


class Method(AdaptedMethod):
    """TransferI2I* for `num_classes` domains at one resolution; `images` is None when it only translates.

    Phases follow from the step: (1) the teacher's GAN, its mapping network copied for each class, is fine-tuned on
    the labelled images; (2) without data, the blocks learn to turn encoded generated images back into the
    generator's own features; (3) translation, with the plain GAN's images as further fakes. The plain GAN shares
    decoder and mapping network with the translator. Its first layers are `beginning`.
    """

    def __init__(
        self,
        settings: Settings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        self.settings = settings
        super().__init__(settings.networks, settings.train, resolution, num_classes, device, images, auxiliary=True)

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One step of the phase that `step` belongs to; optimisers start afresh with each phase."""
        t = self.settings.train
        if step in (t.source_target_iterations, t.first_iterations):
            for optimizer in self.optimizers.values():
                optimizer.state.clear()
        if step < t.source_target_iterations:
            return self._source_target_step()
        if step == t.source_target_iterations:
            self._adopt_discriminator()
        if step < t.first_iterations:
            return self._self_initialisation_step()
        return self.translation_step(step, (*GENERATOR, "mapping_network", "style_encoder", "beginning"))

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
        y = shard(self.images.draw_labels(t.batch)).to(self.device)
        z = shard(torch.randn(t.batch, self.sizes.z_dim)).to(self.device)
        return y, self.networks["mapping_network"](z, y)

    def _source_target_step(self) -> dict[str, Tensor]:
        """Fine-tune the GAN on the images and their classes: logistic loss and R1, as StarGAN v2's."""
        t, discriminator = self.settings.train, self.networks["discriminator"]
        labels = self.images.draw_labels(t.batch)
        x, y = self.images.draw(labels, t.crop_probability).requires_grad_(), shard(labels).to(self.device)
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
    def _adopt_discriminator(self) -> None:
        """Let the encoders start at the fine-tuned discriminator (D_X of the source)."""
        state = cast(BranchedDiscriminator, self.networks["discriminator"]).trunk.state_dict()
        self.networks["encoder"].load_state_dict(part_of(state, self.networks["encoder"]))
        cast(StyleEncoder, self.networks["style_encoder"]).take_over(state)

    def _self_initialisation_step(self) -> dict[str, Tensor]:
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
            found = self.networks["blocks"](encoded, w)
            block_loss = F.l1_loss(found, feature)
            image_loss = F.l1_loss(decoder.first_image(found, w), first_image)
            step_optimizers(block_loss + image_loss, self.optimizers["blocks"], self.optimizers["decoder"])
            style_loss = F.l1_loss(self.networks["style_encoder"](image, y), w)
            step_optimizers(style_loss, self.optimizers["style_encoder"])
        return {"self_blocks": block_loss, "self_image": image_loss, "self_style": style_loss}
