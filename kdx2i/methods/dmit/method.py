"""DMIT in training (`models/base_model.py` of Xiaoming-Yu/DMIT, `update_model`) and translation."""

import torch
from torch import Tensor, nn

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.dmit import losses
from kdx2i.methods.dmit.networks import (
    ContentEncoder,
    Decoder,
    MultiStyleDiscriminator,
    StyleDiscriminator,
    StyleEncoder,
    initialise,
)
from kdx2i.methods.dmit.settings import Settings
from kdx2i.methods.translation import TranslationMethod, averages_of
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast, place

TRANSLATING = ("content_encoder", "style_encoder", "decoder")


class Method(TranslationMethod[Settings]):
    """DMIT.

    The many-class task follows the official template: single images, one-hot domains, a permutation of the
    batch as targets.
    """

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        super().__init__(setup)
        n, t, num_classes = self.settings.networks, self.settings.train, self.num_classes
        wide = 4 * n.width
        # The official content discriminator ends at one logit for the 32 px content of 128 px images.
        blocks = min(n.content_discriminator_blocks, (setup.resolution // 4).bit_length() - 1)
        built: dict[str, nn.Module] = {
            "content_encoder": ContentEncoder(3, n.width, 2, n.encoder_blocks),
            "style_encoder": StyleEncoder(3, n.width, n.style_dim, n.style_blocks),
            "decoder": Decoder(wide, 3, num_classes + n.style_dim, 2, n.decoder_blocks, up_type=n.upsampling),
            "content_discriminator": StyleDiscriminator(wide, wide, blocks, n_latent=num_classes),
            **{
                name: MultiStyleDiscriminator(3, n.width, n.image_discriminator_blocks, n_latent=num_classes)
                for name in ("prior_discriminator", "exemplar_discriminator")
            },
        }
        for network in built.values():
            initialise(network)
        self.networks = {name: place(net, self.device) for name, net in built.items()}
        self.averages = averages_of(self.networks, TRANSLATING)
        self.optimizers = self.adams(dict.fromkeys(self.networks, t.learning_rate))

    def _decode(self, content: Tensor, domain: Tensor, style: Tensor) -> Tensor:
        image: Tensor = self.networks["decoder"](content, torch.cat([domain, style], 1))
        return image

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update the three discriminators, then encoders and decoder, then the decoder and the content encoder.

        The last two official steps back-propagate through weights that have changed since the forward pass,
        which autograd refuses: here all three gradients belong to the same weights (protocol entry generator-steps).
        """
        t, n = self.settings.train, self.settings.networks
        self.hold_then_decay(self.optimizers, t.learning_rate, step, t.decay_from)
        labels = self.images.draw_labels(t.batch)
        x = self.images.draw(labels, t.crop_probability)
        order = torch.randperm(x.shape[0])
        draws = [self.share(torch.randn(t.batch, n.style_dim)) for _ in range(3)]
        labels = self.share(labels)
        source, target = self.one_hot(labels), self.one_hot(labels[order])
        with autocast(self.device, t.precision):
            mean, log_variance = self.networks["style_encoder"](x)
            style = mean + draws[0] * (0.5 * log_variance).exp()
            fakes = self._forward(x, source, target, style, style[order], (draws[1], draws[2]))
            scalars = self._update_discriminators(x, source, target, fakes)
            terms = self._generator_terms(x, source, target, fakes, mean, log_variance, style, draws[1:3])
        trained = {"joint": TRANSLATING, "decoder": ("decoder",), "content": ("content_encoder",)}
        self.steps_at_same_weights(*((terms[name], networks) for name, networks in trained.items()))
        return scalars | terms

    def _forward(
        self, x: Tensor, source: Tensor, target: Tensor, own: Tensor, other: Tensor, z: tuple[Tensor, Tensor]
    ) -> losses.Fakes:
        """Return the reconstruction, the exemplar-guided image and two prior-guided ones of one content."""
        content = self.networks["content_encoder"](x)
        return losses.Fakes(
            content,
            self._decode(content, source, own),
            self._decode(content, target, other),
            (self._decode(content, target, z[0]), self._decode(content, target, z[1])),
        )

    def _update_discriminators(
        self, x: Tensor, source: Tensor, target: Tensor, fakes: losses.Fakes
    ) -> dict[str, Tensor]:
        """Update the content discriminator and both image discriminators."""
        names = ("content_discriminator", "prior_discriminator", "exemplar_discriminator")
        content, prior, exemplar = (self.networks[name] for name in names)
        terms = {
            "content_discriminator": losses.content_discriminator_loss(content, fakes.content, source, target),
            "prior_discriminator": losses.image_discriminator_loss(prior, x, source, target, fakes.prior[0]),
            "exemplar_discriminator": losses.image_discriminator_loss(exemplar, x, source, target, fakes.exemplar),
        }
        for name, loss in terms.items():
            step_optimizers(loss, self.optimizers[name])
        return {f"d_{name.split('_')[0]}": loss for name, loss in terms.items()}

    def _generator_terms(
        self,
        x: Tensor,
        source: Tensor,
        target: Tensor,
        fakes: losses.Fakes,
        mean: Tensor,
        log_variance: Tensor,
        style: Tensor,
        z: list[Tensor],
    ) -> dict[str, Tensor]:
        """Return `joint`, the objective of encoders and decoder, and those of the two further steps."""
        t, net = self.settings.train, self.networks
        content_again = net["content_encoder"](fakes.prior[0])
        adversarial = (
            losses.image_generator_loss(net["prior_discriminator"], fakes.prior[0], target)
            + losses.image_generator_loss(net["exemplar_discriminator"], fakes.exemplar, target)
            + losses.content_generator_loss(net["content_discriminator"], fakes.content, target)
        )
        reconstruction = (fakes.reconstruction - x).abs().mean()
        cycle = (self._decode(content_again, source, style) - x).abs().mean()
        joint = (
            adversarial
            + t.lambda_rec * reconstruction
            + t.lambda_kl * losses.kl_divergence(mean, log_variance)
            + t.lambda_cyc * cycle
        )
        regression = (net["style_encoder"](fakes.prior[0])[0] - z[0]).abs().mean()
        diversity = losses.diversity_loss((z[0], z[1]), fakes.prior)
        return {
            "joint": joint,
            "decoder": t.lambda_style * regression + t.lambda_diversity * diversity,
            "content": t.lambda_content * (fakes.content - content_again).abs().mean(),
            "rec": reconstruction.detach(),
            "cyc": cycle.detach(),
        }

    def _translate(self, x: Tensor, y: Tensor, references: Tensor | None) -> Tensor:
        net = self.averages
        if references is None:
            style = torch.randn(len(x), self.settings.networks.style_dim).to(self.device)
        else:
            style = net["style_encoder"](references)[0]  # The mean of its distribution.
        image: Tensor = net["decoder"](net["content_encoder"](x), torch.cat([self.one_hot(y), style], 1))
        return image
