"""SSA-GAN in training (`main.py`, `train` of wtliao/text2image) and generation."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.encoders.damsm.crops import crop, draw_crops
from kdx2i.encoders.damsm.encoders import Damsm, EncodedText
from kdx2i.encoders.damsm.files import load_damsm
from kdx2i.encoders.damsm.losses import Encoded, Sharpness, damsm_loss
from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.embedding_scale import CONDITIONS, EMBEDDINGS, EmbeddingScale, fit_scale
from kdx2i.methods.ssa_gan.losses import discriminator_loss, generator_loss, matching_penalty
from kdx2i.methods.ssa_gan.networks import BOTTOM, OFFICIAL_RESOLUTION, Discriminator, Generator
from kdx2i.methods.ssa_gan.settings import Networks, Settings
from kdx2i.methods.translation import averages_of
from kdx2i.tasks.conditions import CaptionCondition
from kdx2i.tasks.paired import PairedImages
from kdx2i.training import distributed
from kdx2i.training.checkpoint import select
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place
from kdx2i.training.sampling import columns

NETWORKS = ("generator", "discriminator")


def build_networks(sizes: Networks, resolution: int, device: torch.device) -> dict[str, nn.Module]:
    """Return generator and discriminator of `resolution` px, from torch's global generator.

    `UserError` for a resolution that is not a power of two between 8 and 256.
    """
    if resolution not in {BOTTOM << step for step in range(1, (OFFICIAL_RESOLUTION // BOTTOM).bit_length())}:
        raise UserError(f"ssa_gan draws 8, 16, 32, 64, 128 or {OFFICIAL_RESOLUTION} px, not {resolution}")
    generator = Generator(
        sizes.ngf,
        sizes.noise_dim,
        resolution,
        sizes.condition_dim,
        sizes.modulation_width,
        sizes.first_feature,
    )
    discriminator = Discriminator(sizes.ndf, resolution, sizes.condition_dim)
    return {"generator": place(generator, device), "discriminator": place(discriminator, device)}


class Method:
    """SSA-GAN for captions.

    The DAMSM encoders are frozen and in evaluation mode. The generator normalises by the batch in training, where each
    process has statistics of its own, and by running statistics when it generates.
    """

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        self.setup, self.settings, self.device = setup, setup.settings, setup.device
        n, t = self.settings.networks, self.settings.train
        self.damsm = self._load_encoders(n)
        self.networks: Mapping[str, nn.Module] = {
            **build_networks(n, setup.resolution, setup.device),
            EMBEDDINGS: EmbeddingScale(n.condition_dim).to(self.device),
        }
        self.averages: Mapping[str, nn.Module] = averages_of(self.networks, ["generator", EMBEDDINGS])
        rates = {"generator": t.generator_rate, "discriminator": t.discriminator_rate}
        self.optimizers: Mapping[str, Optimizer] = {
            name: adam(self.networks[name].parameters(), rate, (t.beta1, t.beta2)) for name, rate in rates.items()
        }

        if setup.images is not None and t.embedding_scale == "all":
            self._fit_scale()

    def _fit_scale(self) -> None:
        """Put sentence vectors on the scale of stage 1."""
        conditions = self.images.conditions(CONDITIONS)
        sentences = (self.damsm.encode_text(condition.captions).sentences for condition in conditions)
        fit_scale(self.networks, self.averages, sentences)

    def _load_encoders(self, sizes: Networks) -> Damsm:
        path = self.setup.encoders
        if path is None:
            raise UserError("ssa_gan reads captions with DAMSM encoders: name those of its dataset in `encoders`")
        damsm = load_damsm(path, self.device)
        if damsm.settings.dimension != sizes.condition_dim:
            raise UserError(
                f"{path} has sentences of {damsm.settings.dimension} numbers, but `networks.condition_dim` is "
                f"{sizes.condition_dim}"
            )
        return damsm

    @property
    def images(self) -> PairedImages[CaptionCondition]:
        """The images to train on; `RuntimeError` for a method that only generates."""
        if self.setup.images is None:
            raise RuntimeError("this method was built without images to train on")
        images: PairedImages[CaptionCondition] = self.setup.images
        return images

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Start from a distilled student: its generator and, where it has one, its discriminator.

        Other networks of the student, such as a projection of pseudo-conditions, are left behind. There is no distilled
        encoder: `reset_encoders` raises `UserError`.
        """
        if reset_encoders:
            raise UserError("ssa_gan has no distilled encoders that could be reset")
        for name in NETWORKS:
            state = select(student, name)
            if not state and name == "generator":
                raise UserError("the distilled student has no generator: it is not a student of ssa_gan")
            if not state:
                continue
            try:
                self.networks[name].load_state_dict(state)
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"the distilled {name} does not fit this run's {name}: {reason}") from None
        self.averages["generator"].load_state_dict(self.networks["generator"].state_dict())
        if self.settings.train.embedding_scale == "students":
            self._fit_scale()

    def noise(self, batch: int) -> Tensor:
        """Draw this process's share of the noise [B, Z] of a joint batch."""
        return distributed.shard(torch.randn(batch, self.settings.networks.noise_dim)).to(self.device)

    def draw(self) -> tuple[Tensor, EncodedText, Tensor]:
        """Draw images [B, 3, R, R] in [-1, 1], their encoded captions and their classes int64 [B].

        The batch comes sorted by the length of the captions, longest first, as `prepare_data` sorts it.
        """
        t = self.settings.train
        theta = distributed.shard(draw_crops(t.batch, t.crop))
        images, condition, classes = self.images.draw_labelled(t.batch)
        with torch.no_grad():
            text = self.damsm.encode_text(condition.captions)
        images = crop(images, theta)
        if not t.sort_captions:
            return images, text, classes
        order = torch.argsort(text.lengths, descending=True, stable=True)
        place_of = order.to(self.device)
        text = EncodedText(text.words[place_of], text.sentences[place_of], text.lengths[order])
        return images[place_of], text, classes[place_of]

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One iteration: D by hinge and mismatch, D by MA-GP in an Adam step of its own, then G on the same fakes."""
        t = self.settings.train
        z = self.noise(t.batch)
        real, text, classes = self.draw()
        c = self.networks[EMBEDDINGS](text.sentences)
        generator, discriminator = self.networks["generator"], cast(Discriminator, self.networks["discriminator"])
        with autocast(self.device, t.precision):
            fake = generator(z, c)
            terms = discriminator_loss(discriminator, real, fake, c)
            step_optimizers(terms["total"], self.optimizers["discriminator"])
            scalars = {f"d_{name}": value for name, value in terms.items() if name != "total"}
            if t.penalty_weight:
                penalty = matching_penalty(discriminator, real, c, t.penalty_weight, t.penalty_power)
                step_optimizers(penalty, self.optimizers["discriminator"])
                scalars["d_penalty"] = penalty
            total = scalars["g_adv"] = generator_loss(discriminator, fake, c)
            if t.damsm_weight:
                scalars["g_damsm"] = self.matching(fake, text, classes)
                total = total + t.damsm_weight * scalars["g_damsm"]
            step_optimizers(total, self.optimizers["generator"])
        return scalars

    def matching(self, images: Tensor, text: EncodedText, classes: Tensor) -> Tensor:
        """Return the DAMSM loss of images [B, 3, R, R] and the captions that they were drawn for; classes int64 [B]."""
        t = self.settings.train
        regions, codes = self.damsm.encode_images(images)
        encoded = Encoded(regions, codes, text.words, text.sentences, text.lengths)
        gamma = Sharpness(t.gamma1, t.gamma2, t.gamma3)
        return damsm_loss(encoded, classes if t.class_mask else None, gamma)["total"]

    def ema_decay(self, step: int) -> float:
        """Return the decay of the averages after a step."""
        return self.settings.train.average_decay(step)

    @torch.no_grad()
    def generate(self, condition: CaptionCondition) -> Tensor:
        """Return images [B, 3, R, R] in [-1, 1] of the averaged generator; noise is from torch's global generator."""
        z = torch.randn(len(condition.captions), self.settings.networks.noise_dim).to(self.device)
        sentences = self.damsm.encode_text(condition.captions).sentences
        image: Tensor = self.averages["generator"](z, self.averages[EMBEDDINGS](sentences))
        return image

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Up to eight training images, and two rows of images of their captions."""
        torch.manual_seed(0)
        count = columns(self.settings.train.batch)
        images, condition = self.images.draw(count * distributed.world_size())
        return torch.cat([images, self.generate(condition), self.generate(condition)]), count

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors: rates and weights do not change."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""
