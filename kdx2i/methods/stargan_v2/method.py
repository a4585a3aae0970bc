"""StarGAN v2 (Choi et al. 2020) in stage 2: the training of `core/solver.py` of clovaai/stargan-v2, and translation."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.stargan.losses import Networks
from kdx2i.methods.families.stargan.method import StarGANTranslation
from kdx2i.methods.stargan_v2.networks import NETWORKS, Generator, build_networks, replicate_domains
from kdx2i.methods.stargan_v2.settings import Settings
from kdx2i.methods.translation import averages_of
from kdx2i.training.checkpoint import select

ENCODER_PARTS = ("from_rgb", "encode")
"""The parts of the official generator that the paper calls the content encoder."""
TRANSLATING = ("generator", "mapping_network", "style_encoder")


class Method(StarGANTranslation[Settings]):
    """StarGAN v2.

    Networks start He-initialised from torch's global generator; `initialise` replaces them by a distilled student.
    """

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        super().__init__(setup)
        t, size = self.settings.train, self.settings.networks
        self.noise_dim = size.latent_dim
        self.networks = build_networks(size, setup.resolution, setup.num_classes, setup.device)
        source = self.networks
        if t.ema_start == "official":  # `build_model` copies the networks before `he_init` runs.
            source = build_networks(size, setup.resolution, setup.num_classes, setup.device, he=False)
        self.averages = averages_of(source, TRANSLATING)
        rates = dict.fromkeys(NETWORKS, t.learning_rate) | {"mapping_network": t.mapping_learning_rate}
        self.optimizers = self.adams(rates, weight_decay=t.weight_decay)

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Start from a distilled student, its single domain's heads duplicated for every class.

        With `reset_encoders` the content encoder and the style encoder keep their random start (B.4). A
        student without discriminator (no adversarial loss in stage 1) leaves that network as it is.
        """
        for name in NETWORKS:
            state = select(student, name)
            if not state and name != "discriminator":
                raise UserError(f"the distilled student has no {name}: it is not a student of stargan_v2")
            if not state or (reset_encoders and name == "style_encoder"):
                continue
            if reset_encoders and name == "generator":
                state = {k: v for k, v in state.items() if k.split(".")[0] not in ENCODER_PARTS}
                state = {**self.networks[name].state_dict(), **state}
            try:
                self.networks[name].load_state_dict(replicate_domains(state, self.num_classes))
            except (RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"the distilled {name} does not fit this run's {name}: {reason}") from None
        if self.settings.train.ema_start == "copy":
            self.copy_to_averages()

    def callables(self, networks: Mapping[str, nn.Module]) -> Networks:
        """Return the functions that the objective uses: content is the generator's bottleneck."""
        generator = cast(Generator, networks["generator"])
        return Networks(
            encode=generator.content,
            decode=generator.render,
            mapping=networks["mapping_network"],
            style=networks["style_encoder"],
            discriminator=networks["discriminator"],
        )

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One iteration: D and then G, each with latent and with reference guidance."""
        return self.translation_step(step, TRANSLATING)
