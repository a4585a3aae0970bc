"""CoCosNet v2 in training (`models/pix2pix_model.py`, `trainers/pix2pix_trainer.py`) and use: a baseline from scratch.

The correspondence network warps an exemplar to the label map, and the translation network, which sees the warps and
the map, draws the image. In training the exemplar is the image itself, cropped anew.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.cocosnet_v2 import losses
from kdx2i.methods.cocosnet_v2.blocks import initialise_weights
from kdx2i.methods.cocosnet_v2.correspondence import Correspondence, CorrespondenceNetwork
from kdx2i.methods.cocosnet_v2.exemplars import Exemplars, one_hot, random_crops
from kdx2i.methods.cocosnet_v2.networks import HALVINGS, Discriminator, Generator
from kdx2i.methods.cocosnet_v2.perceptual import feature_network
from kdx2i.methods.cocosnet_v2.settings import Networks, Settings
from kdx2i.methods.translation import averages_of
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.tasks.label_map import coloured
from kdx2i.training import distributed
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place, to_images
from kdx2i.training.sampling import columns

SMALLEST = 64
"""Pixels: five halvings of it leave 2, of which a reflected border of 1 can be made."""


class Translator(nn.Module):
    """What makes images: the correspondence and translation networks, and the exemplars that were kept for it."""

    def __init__(self, n: Networks, resolution: int) -> None:
        super().__init__()
        if resolution < SMALLEST or resolution % 2**HALVINGS:
            raise UserError(
                f"cocosnet_v2 makes images of {SMALLEST} px and more that {2**HALVINGS} divides, not of {resolution} px"
            )
        self.correspondence = CorrespondenceNetwork(
            n.label_nc,
            n.feature_width,
            temperature=n.temperature,
            iterations=n.match_iterations,
            pono=n.positional_norm,
            hidden=n.spade_hidden,
            channel_centred=n.channel_centred,
        )
        start = resolution // 2**HALVINGS
        self.generator = Generator(n.label_nc, n.width, (start, start), pono=n.positional_norm, hidden=n.spade_hidden)
        self.exemplars = Exemplars(n.exemplars, resolution)

    def forward(self, label_map: Tensor, exemplar: Tensor, exemplar_map: Tensor) -> tuple[Tensor, Correspondence]:
        """Return images [B, 3, R, R] in [-1, 1] of one-hot maps [B, L, R, R], and what was found in the exemplars.

        Exemplars are [B, 3, R, R] in [-1, 1], their maps one-hot [B, L, R, R].
        """
        found: Correspondence = self.correspondence(label_map, exemplar, exemplar_map)
        image, _ = self.generator(self.generator.condition(label_map, found.warps))
        return image, found


class Method:
    """CoCosNet v2.

    Averages are those of the loop with a decay of 0, so they equal the networks: there are none in the official code.
    """

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        self.setup, self.settings, self.device = setup, setup.settings, setup.device
        n, t = self.settings.networks, self.settings.train
        translator = Translator(n, setup.resolution)
        discriminator = Discriminator(
            n.label_nc + 3, n.label_nc, n.discriminator_width, scales=n.discriminators, layers=n.discriminator_layers
        )
        for network in (translator, discriminator):
            initialise_weights(network)
        # No gradient reaches what only chooses the matches; see `patch_match`.
        translator.correspondence.patch_match.requires_grad_(False)
        if setup.images is not None:
            self._keep_exemplars(translator.exemplars)
        self.networks: Mapping[str, nn.Module] = {
            "translator": place(translator, self.device),
            "discriminator": place(discriminator, self.device),
        }
        self.averages: Mapping[str, nn.Module] = averages_of(self.networks, ["translator"])
        # The same images serve both.
        self._translator(average=True).exemplars = self._translator().exemplars
        self.optimizers: Mapping[str, Optimizer] = {
            name: adam((p for p in network.parameters() if p.requires_grad), rate, (t.beta1, t.beta2), eps=eps)
            for (name, network), rate, eps in zip(
                self.networks.items(), self.rates(0), (t.generator_eps, 1e-8), strict=True
            )
        }

    def _translator(self, *, average: bool = False) -> Translator:
        translator = (self.averages if average else self.networks)["translator"]
        assert isinstance(translator, Translator)
        return translator

    @property
    def images(self) -> Any:
        """The images to train on; `RuntimeError` for a method that only translates."""
        if self.setup.images is None:
            raise RuntimeError("this method was built without images to train on")
        return self.setup.images

    @cached_property
    def features(self) -> nn.Module:
        """The frozen network whose features are compared, loaded when training asks for it."""
        t = self.settings.train
        return feature_network(t.perceptual, t.vgg19, self.device)

    def _keep_exemplars(self, exemplars: Exemplars) -> None:
        task = self.images.task
        exemplars.fill(task.images[~task.is_test], task.maps[~task.is_test])

    def _one_hot(self, maps: Tensor, condition: LabelMapCondition) -> Tensor:
        """Return maps uint8 [B, R, R] as one-hot [B, L, R, R]; `UserError` where the settings have other labels."""
        labels = self.settings.networks.label_nc
        if len(condition.labels) != labels:
            raise UserError(
                f"the label maps have {len(condition.labels)} labels and cocosnet_v2 is set to {labels}: "
                f"set `networks.label_nc` to {len(condition.labels)}"
            )
        return one_hot(maps, labels)

    def rates(self, step: int) -> tuple[float, float]:
        """Return the learning rates of the translator and the discriminator at a step (protocol entry cocosnet-ttur).

        The official code halves the one and doubles the other, and sets both back after its first epoch.
        """
        t = self.settings.train
        count = int((~self.images.task.is_test).sum()) if self.setup.images is not None else t.batch
        apart = t.ttur == "always" or (t.ttur == "first-epoch" and step < max(1, count // t.batch))
        return (t.learning_rate / 2, t.learning_rate * 2) if apart else (t.learning_rate, t.learning_rate)

    def draw(self) -> tuple[losses.Sample, Tensor, Tensor]:
        """Draw a batch: the sample, its one-hot maps and the exemplars' one-hot maps, [B, L, R, R].

        An exemplar is the image itself, cropped elsewhere, or with `real_reference_probability` another training image
        (protocol entry cocosnet-training-exemplar).
        """
        t = self.settings.train
        images, condition = self.images.draw(t.batch)
        exemplars, exemplar_maps = images, condition.maps
        foreign = distributed.shard(torch.rand(t.batch)).to(self.device) < t.real_reference_probability
        if t.real_reference_probability > 0:
            others, other_condition = self.images.draw(t.batch)
            exemplars = torch.where(foreign[:, None, None, None], others, exemplars)
            exemplar_maps = torch.where(foreign[:, None, None], other_condition.maps, exemplar_maps)
        first, second = (distributed.shard(torch.rand(t.batch, 2)) for _ in range(2))
        images, maps = random_crops(images, condition.maps, first, t.load_scale)
        exemplars, exemplar_maps = random_crops(exemplars, exemplar_maps, second, t.load_scale)
        sample = losses.Sample(images, exemplars, 1 - foreign.float())
        return sample, self._one_hot(maps, condition), self._one_hot(exemplar_maps, condition)

    def judge(self, label_map: Tensor, fake: Tensor, real: Tensor) -> tuple[losses.Judgement, losses.Judgement]:
        """Return the judgements of fakes and of real images [B, 3, R, R] with their maps, in one batch."""
        pairs = torch.cat([torch.cat([label_map, images], 1) for images in (fake, real)])
        outputs: list[list[Tensor]] = self.networks["discriminator"](pairs)
        halves = [[layer.chunk(2) for layer in scale] for scale in outputs]
        on_fake, on_real = ([[layer[part] for layer in scale] for scale in halves] for part in (0, 1))
        return on_fake, on_real

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update translator and correspondence, then the discriminator with the fake of that step."""
        t = self.settings.train
        for optimizer, rate in zip(self.optimizers.values(), self.rates(step), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
        sample, label_map, exemplar_map = self.draw()
        with autocast(self.device, t.precision):
            fake, found = self.networks["translator"](label_map, sample.exemplar, exemplar_map)
            terms = self.generator_terms(sample, label_map, fake.float(), found)
            total = losses.weighted_total(terms, self.weights)
            step_optimizers(total, self.optimizers["translator"])
            on_fake, on_real = losses.hinge_discriminator(*self.judge(label_map, fake.detach(), sample.real))
            step_optimizers(t.lambda_gan * (on_fake + on_real), self.optimizers["discriminator"])
        scalars = {f"g_{name}": value for name, value in terms.items()}
        return {"g_total": total, **scalars, "d_fake": on_fake, "d_real": on_real}

    @property
    def weights(self) -> losses.Weights:
        """The weights of the generator's terms."""
        t = self.settings.train
        return losses.Weights(
            gan=t.lambda_gan,
            discriminator_features=t.lambda_discriminator_features,
            self_features=t.lambda_vgg * t.lambda_self_features,
            contextual=t.lambda_vgg * t.lambda_contextual,
            perceptual=t.lambda_perceptual,
            alignment=t.lambda_alignment,
            warp_self=t.lambda_warp_self,
            warp_cycle=t.lambda_warp_cycle,
        )

    def generator_terms(
        self, sample: losses.Sample, label_map: Tensor, fake: Tensor, found: Correspondence
    ) -> dict[str, Tensor]:
        """Return the unweighted terms for fakes [B, 3, R, R] of one-hot maps [B, L, R, R]."""
        with torch.no_grad():
            real, exemplar = self.features(sample.real), self.features(sample.exemplar)
        return losses.generator_terms(
            sample,
            found,
            self._translator().correspondence.image_pyramid(sample.real, label_map),
            self.judge(label_map, fake, sample.real),
            losses.Perceived(self.features(fake), real, exemplar),
            perceptual_layer=self.settings.train.perceptual_layer,
            over_channels=self.settings.networks.positional_norm,
        )

    def ema_decay(self, step: int) -> float:
        """Return the decay of the averages after a step."""
        return self.settings.train.average_decay(step)

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Refuse a distilled student."""
        raise UserError("cocosnet_v2 has no distilled student; its transfer is `scratch`")

    @torch.no_grad()
    def generate(self, condition: LabelMapCondition) -> Tensor:
        """Return images [B, 3, R, R] in [-1, 1] of the averaged networks.

        Exemplars are kept training images, and the order of PatchMatch's directions is drawn as in the official test,
        both from torch's global generator. `UserError` for references, whose maps are not known.
        """
        if condition.references is not None:
            raise UserError("cocosnet_v2 takes its exemplars from its training images, so its only mode is `map`")
        return self._draw_images(condition)[0]

    def _draw_images(self, condition: LabelMapCondition) -> tuple[Tensor, Tensor]:
        """Return images and the exemplars that were chosen for them, both [B, 3, R, R]."""
        translator, maps = self._translator(average=True), condition.maps.to(self.device)
        exemplars, exemplar_maps = translator.exemplars.choose(maps, self.settings.networks.exemplar)
        label_map, exemplar_map = (self._one_hot(part, condition) for part in (maps, exemplar_maps))
        image, _ = translator(label_map, exemplars, exemplar_map)
        return image.clamp(-1, 1), exemplars

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Up to eight training images, their maps, the exemplars and what is drawn of both, a row each."""
        torch.manual_seed(0)
        images, condition = self.images.draw(columns(self.settings.train.batch))
        drawn, exemplars = self._draw_images(condition)
        return torch.cat([images, to_images(coloured(condition.maps.cpu()), self.device), exemplars, drawn]), len(
            images
        )

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors: rates follow from the step."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""
