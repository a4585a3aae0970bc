"""TransferI2I (Wang et al. 2021): fine-tuned GAN, self-initialised adaptor, auxiliary GAN."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.transferi2i.settings import Settings, generator_updates

ARCHITECTURE = Architecture(
    name="transferi2i",
    settings=Settings,
    method="kdx2i.methods.transferi2i.method:Method",
    starts_from_teacher=True,
    count_updates=generator_updates,
)
