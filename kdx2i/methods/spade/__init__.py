"""SPADE (GauGAN): semantic image synthesis with spatially-adaptive normalisation (Park et al. 2019)."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.spade.settings import Settings

ARCHITECTURE = Architecture(
    name="spade",
    settings=Settings,
    method="kdx2i.methods.spade.method:Method",
    task="label-map",
    modes=("map",),
)
