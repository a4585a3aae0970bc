"""DeepI2I: deep hierarchical image-to-image translation by transferring from GANs (Wang et al. 2020)."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.deepi2i.settings import Settings
from kdx2i.methods.settings import updates_after_first_phases

ARCHITECTURE = Architecture(
    name="deepi2i",
    settings=Settings,
    method="kdx2i.methods.deepi2i.method:build",
    starts_from_teacher=True,
    count_updates=updates_after_first_phases,
)
