"""SSA-GAN: text to image generation with semantic-spatial aware GAN (Liao et al. 2022)."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.ssa_gan.settings import Settings

ARCHITECTURE = Architecture(
    name="ssa_gan",
    settings=Settings,
    method="kdx2i.methods.ssa_gan.method:Method",
    student="kdx2i.methods.ssa_gan.student:Student",
    task="text",
    modes=("text",),
    reads_encoder=True,
)
