"""StyleGAN-1: the backbone of the official StyleGAN variants of DeepI2I and TransferI2I."""

from kdx2i.teacher.stylegan1.networks import Discriminator, Generator, StyleGAN1Config, mean_style

__all__ = ["Discriminator", "Generator", "StyleGAN1Config", "mean_style"]
