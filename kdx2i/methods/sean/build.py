"""SEAN's networks of the sizes that settings say, initialised as the official code does."""

import torch
from torch import nn

from kdx2i.errors import UserError
from kdx2i.methods.sean.discriminator import Discriminator
from kdx2i.methods.sean.networks import HALVINGS, Generator, initialise
from kdx2i.methods.sean.settings import Networks
from kdx2i.methods.sean.styles import StyleMemory
from kdx2i.training.precision import place


def build_networks(sizes: Networks, resolution: int, device: torch.device) -> tuple[Generator, Discriminator]:
    """Return generator and discriminator for images of `resolution` px, drawn from torch's global generator.

    `UserError` for a resolution that the generator cannot reach by doubling.
    """
    multiple = 2 ** HALVINGS[sizes.num_upsampling_layers]
    if resolution % multiple:
        raise UserError(
            f"sean with `num_upsampling_layers: {sizes.num_upsampling_layers}` needs a resolution that is a multiple "
            f"of {multiple}, not {resolution}"
        )
    generator = Generator(
        sizes.ngf,
        sizes.label_nc,
        resolution,
        num_upsampling_layers=sizes.num_upsampling_layers,
        style_length=sizes.style_length,
        style_layers=sizes.style_layers,
        encoder_width=sizes.encoder_width,
        hidden=sizes.hidden,
        first_feature=sizes.first_feature,
    )
    discriminator = Discriminator(sizes.label_nc, sizes.ndf, sizes.num_d, sizes.n_layers_d)
    for network in (generator, discriminator):
        initialise(network)
    return place(generator, device), place(discriminator, device)


def build_memory(sizes: Networks, device: torch.device) -> nn.Module:
    """Return the empty memory of style codes."""
    return StyleMemory(sizes.label_nc, sizes.style_length).to(device)
