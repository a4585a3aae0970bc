"""The networks of all directions in one run, their start from a teacher, and translation with them.

The official code trains one model for each direction. Here a run holds one model for each target class, side by
side, so that one run answers for all directions (protocol entry stylegan-directions).
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.stylegan_settings import StyleGANNetworks, StyleGANTrain
from kdx2i.methods.stylegan_translation import Adaptor, Direction, FeatureDiscriminator, StyleEncoder
from kdx2i.teacher import stylegan1, stylegan2
from kdx2i.teacher.stylegan1_checkpoint import read_stylegan1
from kdx2i.teacher.weights import read_fitting_teacher
from kdx2i.training.optimizers import adam
from kdx2i.training.precision import place

State = Mapping[str, Tensor]
MAPPING_PARTS = ("mapping", "style")
"""The names of the mapping network in generators of both backbones."""


class Backbone:
    """Builds the networks of one kind and size, and reads teachers of that kind."""

    def __init__(self, sizes: StyleGANNetworks, resolution: int) -> None:
        self.sizes, self.resolution = sizes, resolution
        n = sizes
        self.style1 = stylegan1.StyleGAN1Config(
            resolution,
            n.w_dim,
            n.mapping_layers,
            tuple(
                max(1, min(n.channel_base // r, n.channel_max))
                for r in stylegan2.resolutions(max(n.max_resolution, resolution))
            ),
        )
        self.generator_config = stylegan2.GeneratorConfig(
            resolution,
            z_dim=n.z_dim,
            w_dim=n.w_dim,
            num_layers=n.mapping_layers,
            channel_base=n.channel_base,
            channel_max=n.channel_max,
            equalized_demodulation=n.equalized_demodulation,
        )
        self.discriminator_config = stylegan2.DiscriminatorConfig(
            resolution, channel_base=n.channel_base, channel_max=n.channel_max
        )
        if n.backbone == "stylegan1" and n.z_dim != n.w_dim:
            raise UserError(f"networks: StyleGAN-1 has one size for z and w, not z_dim {n.z_dim} and w_dim {n.w_dim}")

    def generator(self) -> nn.Module:
        """Return a generator (`StyleGenerator`)."""
        if self.sizes.backbone == "stylegan1":
            return stylegan1.Generator(self.style1)
        return stylegan2.Generator(self.generator_config)

    def discriminator(self, *, separate: bool = False) -> nn.Module:
        """Return a discriminator (`FeatureDiscriminator`); `separate` ones do not mix the images of a batch."""
        if self.sizes.backbone == "stylegan1":
            return stylegan1.Discriminator(self.style1, separate=separate)
        config = self.discriminator_config
        return stylegan2.Discriminator(replace(config, mbstd_group_size=1) if separate else config)

    def adaptor(self) -> Adaptor:
        """Return an adaptor for the resolutions of `addition_weights`."""
        n = self.sizes
        known = [r for r in stylegan2.resolutions(self.resolution) if r < self.resolution]
        for r in n.addition_weights:
            if r not in known:
                raise UserError(f"networks.addition_weights names {r} px: the encoder has features at {known} px")
        return Adaptor({r: min(n.channel_base // r, n.channel_max) for r in n.addition_weights})

    def style_encoder(self) -> StyleEncoder:
        """Return a style encoder on a discriminator's layers, without its last linear layer."""
        trunk = self.discriminator(separate=True)
        dim = cast(FeatureDiscriminator, trunk).semantic_dim
        return StyleEncoder(without_last_layer(trunk), dim, self.sizes.w_dim)

    def read_teacher(self, path: Path) -> tuple[State, State, Tensor]:
        """Return the states of generator and discriminator and the mean style [w_dim] of a teacher's file.

        StyleGAN2: a file of `kdx2i teacher`; StyleGAN-1: an official checkpoint, read as tensors only.
        """
        if self.sizes.backbone == "stylegan1":
            states = read_stylegan1(path, self.style1)
            return states["generator"], states["discriminator"], stylegan1.mean_style(self.style1, states["generator"])
        teacher = read_fitting_teacher(path, self.generator_config, self.discriminator_config)
        return (
            teacher.generator.state_dict(),
            teacher.discriminator.state_dict(),
            teacher.generator.mapping.w_avg,
        )


def without_last_layer(discriminator: nn.Module) -> nn.Module:
    """Remove the layer after `semantic` from a discriminator of either kind; return it."""
    if isinstance(discriminator, stylegan1.Discriminator):
        del discriminator.linear
    else:
        del cast(stylegan2.Discriminator, discriminator).b4.out
    return discriminator


class TranslationModel:
    """One direction for each class of `num_classes`, as target.

    `networks` are `generator_<c>`, `adaptor_<c>`, `discriminator_<c>`, `style_encoder_<c>` and, frozen, one
    `encoder` for all directions or (`shared_encoder=False`) `encoder_<c>` of the images translated into c.
    `averages` holds what translates.
    """

    def __init__(
        self,
        sizes: StyleGANNetworks,
        resolution: int,
        num_classes: int,
        device: torch.device,
        *,
        shared_encoder: bool = True,
    ) -> None:
        self.sizes, self.device, self.num_classes = sizes, device, num_classes
        self.backbone = Backbone(sizes, resolution)
        self.shared_encoder = shared_encoder
        built: dict[str, nn.Module] = {}
        makers: dict[str, Callable[[], nn.Module]] = {
            "generator": self.backbone.generator,
            "adaptor": self.backbone.adaptor,
            "discriminator": self.backbone.discriminator,
            "style_encoder": self.backbone.style_encoder,
        }
        for name in self.encoder_names():
            built[name] = self.backbone.discriminator().requires_grad_(False)
        for target in range(num_classes):
            built |= {f"{name}_{target}": make() for name, make in makers.items()}
        self.networks: dict[str, nn.Module] = {name: place(module, device) for name, module in built.items()}
        # Encoders are frozen: each is its own average.
        self.averages: dict[str, nn.Module] = {
            name: module if name in self.encoder_names() else copy.deepcopy(module).eval().requires_grad_(False)
            for name, module in self.networks.items()
            if not name.startswith("discriminator")
        }
        self.directions = [self._direction(self.networks, target) for target in range(num_classes)]
        averaged = {**self.networks, **self.averages}
        self.averaged = [self._direction(averaged, target) for target in range(num_classes)]

    def encoder_names(self) -> list[str]:
        """Return the names of the encoders."""
        return ["encoder"] if self.shared_encoder else [f"encoder_{target}" for target in range(self.num_classes)]

    def _direction(self, networks: Mapping[str, nn.Module], target: int) -> Direction:
        names = ("adaptor", "generator", "discriminator", "style_encoder")
        encoder = networks["encoder" if self.shared_encoder else f"encoder_{target}"]
        parts = {name: networks[f"{name}_{target}"] for name in names}
        return Direction(encoder=encoder, **parts, weights=self.sizes.addition_weights, noise=self.sizes.noise)

    def start_from_teacher(self, path: Path) -> None:
        """Copy a teacher's networks into every direction; the adaptors keep their random start."""
        generator, discriminator, mean_style = self.backbone.read_teacher(path)
        for name in self.encoder_names():
            self.networks[name].load_state_dict(dict(discriminator))
        for direction in self.directions:
            direction.generator.load_state_dict(dict(generator))
            direction.discriminator.load_state_dict(dict(discriminator))
            start_style_encoder(cast(StyleEncoder, direction.style_encoder), discriminator, mean_style)
        self.copy_to_averages()

    def copy_to_averages(self) -> None:
        """Let the averages start at the networks."""
        for name, average in self.averages.items():
            if name not in self.encoder_names():
                average.load_state_dict(self.networks[name].state_dict())

    @torch.no_grad()
    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the classes y [B] with the averages, clamped to [-1, 1].

        The mode `latent` draws z from torch's global generator, `reference` encodes `references` [B, 3, R, R].
        """
        if mode not in ("latent", "reference") or (mode == "reference" and references is None):
            raise ValueError(f"the mode `{mode}` is unknown or lacks its reference images")
        z = torch.randn(len(x), self.sizes.z_dim) if mode == "latent" else None
        x, y = x.to(self.device), y.to(self.device)
        images = torch.empty_like(x)
        for target in sorted(set(y.tolist())):
            chosen, direction = torch.nonzero(y == target).flatten(), self.averaged[target]
            if z is not None:
                w = direction.style(z.to(self.device)[chosen])
            else:
                w = direction.style_of(cast(Tensor, references).to(self.device)[chosen])
            images[chosen] = direction.translate(x[chosen], w).to(images.dtype)
        return images.clamp(-1, 1)


def start_style_encoder(encoder: StyleEncoder, discriminator: State, mean_style: Tensor) -> None:
    """Copy a discriminator into a style encoder and let it answer with the mean style."""
    copy_trunk(encoder, discriminator)
    encoder.set_mean_style(mean_style)


def copy_trunk(encoder: StyleEncoder, discriminator: State) -> None:
    """Copy a discriminator into a style encoder, whose last layer stays as it is."""
    encoder.trunk.load_state_dict({name: discriminator[name] for name in encoder.trunk.state_dict()})


def optimizers_of(model: TranslationModel, settings: StyleGANTrain) -> dict[str, Optimizer]:
    """Return Adam for every network that learns; the mapping network of a generator has its own rate."""
    optimizers: dict[str, Optimizer] = {}
    t = settings
    for name, network in model.networks.items():
        if name in model.encoder_names():
            continue
        slow = [p for key, p in network.named_parameters() if key.split(".")[0] in MAPPING_PARTS]
        fast = [p for key, p in network.named_parameters() if key.split(".")[0] not in MAPPING_PARTS]
        groups: list[dict[str, Any]] = [{"params": fast}]
        if name.startswith("generator"):
            groups.append({"params": slow, "lr": t.mapping_learning_rate})
        optimizers[name] = adam(groups, t.learning_rate, (t.beta1, t.beta2))
    return optimizers
