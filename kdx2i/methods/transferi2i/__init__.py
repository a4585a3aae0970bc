"""TransferI2I (Wang et al. 2021): fine-tuned GAN, self-initialised adaptor, auxiliary GAN."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.settings import updates_after_first_phases
from kdx2i.methods.transferi2i.settings import Settings

ARCHITECTURE = Architecture(
    name="transferi2i",
    settings=Settings,
    method="kdx2i.methods.transferi2i.method:build",
    starts_from_teacher=True,
    count_updates=updates_after_first_phases,
)
