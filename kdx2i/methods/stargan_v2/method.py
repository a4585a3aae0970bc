"""StarGAN v2 (Choi et al. 2020) in stage 2: the training of `core/solver.py`, and translation."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.stargan_losses import (
    Guidance,
    Networks,
    Weights,
    discriminator_loss,
    frozen,
    generator_loss,
)
from kdx2i.methods.stargan_v2.build import NETWORKS, build
from kdx2i.methods.stargan_v2.networks import Generator, replicate_domains
from kdx2i.methods.stargan_v2.settings import Settings
from kdx2i.training.checkpoint import select
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast
from kdx2i.training.sampling import BalancedImages

ENCODER_PARTS = ("from_rgb", "encode")
"""The parts of the official generator that the paper calls the content encoder."""


class Method:
    """StarGAN v2 for `num_classes` domains at one resolution.

    `images` is None when the method only translates. Networks start He-initialised from torch's global
    generator; `initialise` replaces them by a distilled student.
    """

    def __init__(
        self,
        settings: Settings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        self.settings, self.images, self.device, self.num_classes = settings, images, device, num_classes
        t = settings.train
        size = settings.networks
        self.networks: Mapping[str, nn.Module] = build(size, resolution, num_classes, device)
        official = t.ema_start == "official"  # `build_model` copies the networks before `he_init` runs.
        source = build(size, resolution, num_classes, device, he=False) if official else self.networks
        self.averages: Mapping[str, nn.Module] = {
            name: copy.deepcopy(source[name]).eval().requires_grad_(False)
            for name in NETWORKS
            if name != "discriminator"
        }
        rates = dict.fromkeys(NETWORKS, t.learning_rate) | {"mapping_network": t.mapping_learning_rate}
        self.optimizers: Mapping[str, Optimizer] = {
            name: adam(
                self.networks[name].parameters(),
                rates[name],
                (t.beta1, t.beta2),
                weight_decay=t.weight_decay,
            )
            for name in NETWORKS
        }

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
            if name in self.averages and self.settings.train.ema_start == "copy":
                self.averages[name].load_state_dict(self.networks[name].state_dict())

    def _callables(self) -> Networks:
        generator = cast(Generator, self.networks["generator"])
        return Networks(
            encode=generator.content,
            decode=generator.render,
            mapping=self.networks["mapping_network"],
            style=self.networks["style_encoder"],
            discriminator=self.networks["discriminator"],
        )

    def _draw(self) -> tuple[Tensor, Tensor, Guidance, Guidance]:
        """Draw sources with labels, and the latent and the reference guidance of one iteration."""
        if self.images is None:
            raise RuntimeError("this method was built without images to train on")
        t, images = self.settings.train, self.images
        y_org, y_trg = images.draw_labels(t.batch), images.draw_labels(t.batch)
        x = images.draw(y_org, t.crop_probability)
        x_ref, x_ref2 = images.draw(y_trg, t.crop_probability), images.draw(y_trg, t.crop_probability)
        z = torch.randn(2, t.batch, self.settings.networks.latent_dim)
        z1, z2 = shard(z[0]).to(self.device), shard(z[1]).to(self.device)
        target = shard(y_trg).to(self.device)
        latent = Guidance(target, z=z1, z2=z2)
        return x, shard(y_org).to(self.device), latent, Guidance(target, x_ref=x_ref, x_ref2=x_ref2)

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One iteration: D and then G, each with latent and with reference guidance."""
        t = self.settings.train
        x, y, latent, reference = self._draw()
        remaining = max(0.0, 1.0 - step / t.ds_iterations)
        weights = Weights(reg=t.lambda_reg, sty=t.lambda_sty, ds=t.lambda_ds * remaining, cyc=t.lambda_cyc)
        networks = self._callables()
        scalars: dict[str, Tensor] = {}
        with autocast(self.device, t.precision):
            with torch.no_grad():
                content = networks.encode(x)
            for name, guidance in (("latent", latent), ("reference", reference)):
                terms = discriminator_loss(networks, x, y, guidance, weights, content)
                step_optimizers(terms["total"], self.optimizers["discriminator"])
                scalars[f"d_{name}"] = terms["total"]
            for name, guidance in (("latent", latent), ("reference", reference)):
                trained = ("generator", "mapping_network", "style_encoder") if name == "latent" else ("generator",)
                held = [self.networks[n] for n in NETWORKS if n not in trained]
                with frozen(*held):
                    terms = generator_loss(networks, x, y, guidance, weights)
                    step_optimizers(terms["total"], *(self.optimizers[n] for n in trained))
                scalars |= {f"{term}_{name}": value for term, value in terms.items() if term != "total"}
        return scalars

    def ema_decay(self, step: int) -> float:
        """The configured decay, bounded at the start when `ema_warm_up` is on."""
        bound = (1 + step) / (10 + step) if self.settings.train.ema_warm_up else 1.0
        return min(self.settings.train.ema_decay, bound)

    @torch.no_grad()
    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the domains y [B] with the averaged networks, clamped to [-1, 1]."""
        x, y = x.to(self.device), y.to(self.device)
        if mode == "latent":
            z = torch.randn(len(x), self.settings.networks.latent_dim).to(self.device)
            style = self.averages["mapping_network"](z, y)
        elif mode == "reference" and references is not None:
            style = self.averages["style_encoder"](references.to(self.device), y)
        else:
            raise ValueError(f"the mode `{mode}` is unknown or lacks its reference images")
        return cast(Tensor, self.averages["generator"](x, style)).clamp(-1, 1)

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Eight sources above their translations to random domains, latent- and reference-guided."""
        if self.images is None:
            raise RuntimeError("this method was built without images to show")
        torch.manual_seed(0)
        y, target = self.images.draw_labels(8), self.images.draw_labels(8)
        x, references = (images_on(self.images, labels) for labels in (y, target))
        latent = self.translate(x, target, "latent")
        guided = self.translate(x, target, "reference", references)
        return torch.cat([x, references, latent, guided]), 8

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors: the weight of the diversity term follows from the step."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""


def images_on(images: BalancedImages, labels: Tensor) -> Tensor:
    """Draw images without augmentation beyond the mirror, all of them whatever the rank."""
    return images.draw(labels, 0.0, share=False)
