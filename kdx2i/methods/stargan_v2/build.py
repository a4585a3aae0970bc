"""Building the four networks of StarGAN v2 from a preset's settings."""

import torch
from torch import nn

from kdx2i.methods.families.stargan.blocks import he_init
from kdx2i.methods.stargan_v2.networks import Discriminator, Generator, MappingNetwork, StyleEncoder
from kdx2i.methods.stargan_v2.settings import Networks as Sizes
from kdx2i.training.precision import place

NETWORKS = ("generator", "mapping_network", "style_encoder", "discriminator")


def build(
    sizes: Sizes, resolution: int, num_domains: int, device: torch.device, *, he: bool = True
) -> dict[str, nn.Module]:
    """Return the four networks on the device, initialised from torch's global generator: He's way, or torch's own."""
    n = sizes
    networks: dict[str, nn.Module] = {
        "generator": Generator(
            resolution,
            n.style_dim,
            n.max_conv_dim,
            dim_in=n.dim_in,
            num_down=n.num_down,
            hint_block=n.hint_block,
        ),
        "mapping_network": MappingNetwork(n.latent_dim, n.style_dim, num_domains, hidden_dim=n.hidden_dim),
        "style_encoder": StyleEncoder(resolution, n.style_dim, num_domains, n.max_conv_dim, dim_in=n.dim_in),
        "discriminator": Discriminator(resolution, num_domains, n.max_conv_dim, dim_in=n.dim_in),
    }
    if he:
        for network in networks.values():
            he_init(network)
    return {name: place(network, device) for name, network in networks.items()}
