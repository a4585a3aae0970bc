"""SDIT: scalable and diverse cross-domain image translation (Wang et al. 2019)."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.sdit.settings import Settings, generator_updates

ARCHITECTURE = Architecture(
    name="sdit",
    settings=Settings,
    method="kdx2i.methods.sdit.method:Method",
    modes=("latent",),
    count_updates=generator_updates,
)
