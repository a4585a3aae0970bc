"""TransferI2I on BigGAN in training, from its article (arXiv 2105.06219): it has no public code."""

import torch
from torch import Tensor

from kdx2i.methods.families.biggan.losses import (
    discriminator_hinge,
    feature_distances,
    generator_hinge,
    weighted_sum,
)
from kdx2i.methods.families.biggan.method import BigGANTranslation
from kdx2i.methods.families.three_phases.method import ThreePhases
from kdx2i.methods.transferi2i.settings import OnBigGAN
from kdx2i.teacher.biggan import Features
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast


class BigGANMethod(ThreePhases, BigGANTranslation[OnBigGAN]):
    """TransferI2I for the first of the teacher's classes: one class-conditional GAN for both roles."""

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One step of the phase that `step` belongs to."""
        t = self.settings.train
        with autocast(self.device, t.precision):
            return self.phase_step(step, t)

    def _noise(self) -> tuple[Tensor, Tensor]:
        """Draw classes [B] and noise [B, Z]."""
        batch = self.settings.train.batch
        return self.share(self.images.draw_labels(batch)), self.share(self.draw_noise(batch))

    def _real(self) -> tuple[Tensor, Tensor]:
        """Draw real images [B, 3, R, R] and their classes [B]."""
        t = self.settings.train
        labels = self.images.draw_labels(t.batch)
        x = self.images.draw(labels, t.crop_probability, mirror_probability=t.mirror_probability)
        return x, self.share(labels)

    def source_target_step(self) -> dict[str, Tensor]:
        """Fine-tune the plain GAN on the images and their classes, with the hinge loss."""
        real, y_real = self._real()
        y, z = self._noise()
        with torch.no_grad():
            fake = self.generator(z, y)
        d_loss = self._discriminator_loss(real, y_real, [(fake, y, 1.0)])
        step_optimizers(d_loss, self.optimizers["discriminator"])
        y, z = self._noise()
        g_loss = generator_hinge(self.discriminator(self.generator(z, y), y)[0])
        step_optimizers(g_loss, self.optimizers["generator"])
        return {"d_gan": d_loss.detach(), "g_gan": g_loss.detach()}

    def adopt_discriminators(self) -> None:
        """Let the encoder start at the fine-tuned discriminator."""
        self.encoder.load_state_dict(self.discriminator.state_dict())

    def self_initialisation_step(self) -> dict[str, Tensor]:
        """Fit the adaptor to the generator's features of its own images, resolution by resolution, by L1."""
        y, z = self._noise()
        with torch.no_grad():
            image, own = self.generator.render(z, self.generator.shared(y))
            encoded = self.encoder.features(image)
        adapted = self.networks["adaptor"](encoded)
        loss = torch.stack([(adapted[r] - own[r]).abs().mean() for r in sorted(adapted)]).sum()
        step_optimizers(loss, self.optimizers["adaptor"])
        return {"self_adaptor": loss.detach()}

    def last_phase_step(self, step: int) -> dict[str, Tensor]:
        """Update the discriminator on both kinds of fakes, then adaptor and generator."""
        t = self.settings.train
        source = self._real()[0]
        real, y_real = self._real()
        with torch.no_grad():
            encoded = self.encoder.features(source)
            fakes = self._fakes(encoded)
        d_loss = self._discriminator_loss(real, y_real, fakes)
        step_optimizers(d_loss, self.optimizers["discriminator"])
        fakes = self._fakes(encoded)
        with torch.no_grad():
            of_source = self.discriminator.features(source)
        (translation, y, _), *auxiliary = fakes
        logits, features = self.discriminator(translation, y)
        adversarial = generator_hinge(logits)
        distances = feature_distances(features, of_source, t.feature_power)
        feature = weighted_sum(distances, t.compared)
        total = adversarial + feature
        for image, classes, weight in auxiliary:
            total = total + weight * generator_hinge(self.discriminator(image, classes)[0])
        step_optimizers(total, self.optimizers["adaptor"], self.optimizers["generator"])
        return {"d": d_loss.detach(), "g_adv": adversarial.detach(), "feature": feature.detach()}

    def _fakes(self, encoded: Features) -> list[tuple[Tensor, Tensor, float]]:
        """Return translations of the encoded sources and images of the plain GAN, with classes and weights."""
        t = self.settings.train
        y, z = self._noise()
        fakes = [(self.render(self.networks, z, y, encoded), y, 1.0)]
        if t.lambda_aux:
            y, z = self._noise()
            fakes.append((self.generator(z, y), y, t.lambda_aux))
        return fakes

    def _discriminator_loss(self, real: Tensor, y_real: Tensor, fakes: list[tuple[Tensor, Tensor, float]]) -> Tensor:
        """Return the hinge loss on real images and on weighted batches of fakes, in one pass."""
        images = torch.cat([real, *(image for image, _, _ in fakes)])
        classes = torch.cat([y_real, *(y for _, y, _ in fakes)])
        of_real, *of_fakes = self.discriminator(images, classes)[0].chunk(1 + len(fakes))
        terms = [discriminator_hinge(of_real, logits) for logits in of_fakes]
        loss = terms[0][0]
        for (_, of_fake), (_, _, weight) in zip(terms, fakes, strict=True):
            loss = loss + weight * of_fake
        return loss
