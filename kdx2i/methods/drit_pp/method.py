"""DRIT++ in training (`MD_multi` in `model.py` of HsinYingLee/MDMM) and translation."""

import torch
from torch import Tensor, nn

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.drit_pp import losses, networks
from kdx2i.methods.drit_pp.blocks import initialise
from kdx2i.methods.drit_pp.settings import Settings
from kdx2i.methods.translation import TranslationMethod, averages_of, put_gradients
from kdx2i.training import distributed
from kdx2i.training.optimizers import step_optimizers
from kdx2i.training.precision import autocast, place

TRANSLATING = ("content_encoder", "attribute_encoder", "generator")
PRIOR_TRAINED = ("content_encoder", "generator")
"""What the objective with noise for the attribute trains."""
LARGEST_NORM = 5.0


def swap(t: Tensor) -> Tensor:
    """Exchange the two halves of every pair: neighbours in the batch [B, ...], B even."""
    return t.reshape(-1, 2, *t.shape[1:]).flip(1).reshape(t.shape)


class Method(TranslationMethod[Settings]):
    """DRIT++.

    A batch is made of pairs (two neighbours) that swap their contents. Officially its halves do; neighbours are
    the same for independent draws, and stay together when processes share a batch.
    """

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        super().__init__(setup)
        n, t, num_classes, resolution = self.settings.networks, self.settings.train, self.num_classes, setup.resolution
        halvings = resolution.bit_length() - 1
        if n.attribute_mode == "concat":
            attribute: type[nn.Module] = networks.AttributeEncoder
            generator: type[nn.Module] = networks.Generator
        else:
            attribute, generator = networks.FeatureWiseAttributeEncoder, networks.FeatureWiseGenerator
        # The official six halvings end at 2 px for 128 px images; smaller images end there too.
        layers = min(n.discriminator_layers, halvings - 1)
        built: dict[str, nn.Module] = {
            "content_encoder": networks.ContentEncoder(3, n.width),
            "attribute_encoder": attribute(3, n.attribute_dim, num_classes, n.width),
            "generator": generator(3, num_classes, n.attribute_dim, n.width),
            **{
                name: networks.Discriminator(3, n.spectral_norm, num_classes, resolution, n.width, layers)
                for name in ("swap_discriminator", "prior_discriminator")
            },
        }
        if n.content_adversary == "small-kernel":
            built["content_discriminator"] = networks.ContentDiscriminator(num_classes, n.width, 3, halvings - 4)
        for network in built.values():
            initialise(network)
        self.networks = {name: place(net, self.device) for name, net in built.items()}
        self.averages = averages_of(self.networks, TRANSLATING)
        rates = {
            name: t.content_learning_rate if name == "content_discriminator" else t.learning_rate for name in built
        }
        self.optimizers = self.adams(rates, weight_decay=t.weight_decay)

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Draw this process's share of a batch: images and one-hot domains."""
        t = self.settings.train
        labels = self.images.draw_labels(t.batch)
        x = self.images.draw(labels, t.crop_probability)
        return x, self.one_hot(self.share(labels))

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update the content discriminator if there is one, both image discriminators, encoders and generator.

        The second generator step officially back-propagates through weights that the first has changed since
        the forward pass, which autograd refuses: here both gradients belong to the same weights.
        """
        t, n = self.settings.train, self.settings.networks
        # That of the content discriminator never falls, officially.
        falling = [name for name in self.optimizers if name != "content_discriminator"]
        self.hold_then_decay(falling, t.learning_rate, step, t.decay_from)
        scalars = {}
        if "content_discriminator" in self.networks:
            for _ in range(t.content_updates):
                scalars["d_content"] = self._update_content_discriminator()
        x, domains = self._draw()
        size = (t.batch // 2, n.attribute_dim)
        z = tuple(self.share(torch.randn(size)).repeat_interleave(2, 0) for _ in range(2 if t.mode_seeking else 1))
        weights = losses.Weights(
            cls=t.lambda_cls,
            cls_generator=t.lambda_cls_generator,
            rec=t.lambda_rec,
            content=t.lambda_content,
            kl=t.lambda_kl,
            latent=t.lambda_latent,
            batch=distributed.world_size(),
        )
        with autocast(self.device, t.precision):
            forward = self._forward(x, domains, z)
            for name, fakes in (("swap", (forward.swapped,)), ("prior", forward.prior)):
                discriminate = self.networks[f"{name}_discriminator"]
                each = [losses.discriminator_loss(discriminate, x, domains, fake, weights) for fake in fakes]
                scalars[f"d_{name}"] = torch.stack(each).sum()
                step_optimizers(scalars[f"d_{name}"], self.optimizers[f"{name}_discriminator"])
            joint = losses.joint_loss(self.networks["swap_discriminator"], x, domains, forward, weights)
            prior = losses.prior_loss(self.networks["prior_discriminator"], domains, z, forward, weights)
            if "content_discriminator" in self.networks:
                logits = self.networks["content_discriminator"](forward.content)
                joint["total"] = joint["total"] + losses.classification(logits, 1 - domains)
        self.steps_at_same_weights((joint["total"], TRANSLATING), (prior["total"], PRIOR_TRAINED))
        scalars |= {"joint": joint.pop("total"), "prior": prior.pop("total"), **joint, **prior}
        return {name: value.detach() for name, value in scalars.items()}

    def _update_content_discriminator(self) -> Tensor:
        """Teach the content discriminator the domains of a fresh batch, by clipped gradients; return its loss."""
        x, domains = self._draw()
        network = self.networks["content_discriminator"]
        with autocast(self.device, self.settings.train.precision):
            with torch.no_grad():
                content = self.networks["content_encoder"](x)
            loss = losses.classification(network(content), domains)
        parameters = list(network.parameters())
        put_gradients(parameters, torch.autograd.grad(loss, parameters))
        nn.utils.clip_grad_norm_(parameters, LARGEST_NORM)
        self.optimizers["content_discriminator"].step()
        self.optimizers["content_discriminator"].zero_grad(set_to_none=True)
        return loss

    def _attribute(self, x: Tensor, domains: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return a drawn attribute of each image, its mean and its log variance, if it has one."""
        mean, log_variance = self.networks["attribute_encoder"](x, domains)
        if log_variance is None:
            return mean, mean, None
        drawn = self.share(torch.randn(self.settings.train.batch, mean.shape[1]))
        return mean + drawn * (0.5 * log_variance).exp(), mean, log_variance

    def _forward(self, x: Tensor, domains: Tensor, z: tuple[Tensor, ...]) -> losses.Pass:
        """Translate each image's partner into its domain, with its attribute and with noise, and back."""
        net = self.networks
        content = net["content_encoder"](x)
        attribute, mean, log_variance = self._attribute(x, domains)
        contents = torch.cat([swap(content), content, *[swap(content)] * len(z)])
        attributes = torch.cat([attribute, attribute, *z])
        images = net["generator"](contents, attributes, domains.repeat(2 + len(z), 1)).chunk(2 + len(z))
        swapped, reconstruction, *prior = images
        again = swap(net["content_encoder"](swapped))
        cycle = net["generator"](again, self._attribute(swapped, domains)[0], domains)
        regressed = net["attribute_encoder"](prior[0], domains)[0]
        return losses.Pass(content, mean, log_variance, swapped, reconstruction, cycle, tuple(prior), regressed)

    def _translate(self, x: Tensor, y: Tensor, references: Tensor | None) -> Tensor:
        # The content has no noise, as in the official test.
        net, domains = self.averages, self.one_hot(y)
        if references is None:
            attribute = torch.randn(len(x), self.settings.networks.attribute_dim).to(self.device)
        else:
            attribute = net["attribute_encoder"](references, domains)[0]  # The mean of its distribution.
        image: Tensor = net["generator"](net["content_encoder"](x), attribute, domains)
        return image
