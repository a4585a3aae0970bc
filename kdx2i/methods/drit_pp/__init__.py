"""DRIT++: diverse image-to-image translation via disentangled representations (Lee et al. 2020), as MDMM."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.drit_pp.settings import Settings

ARCHITECTURE = Architecture(
    name="drit_pp",
    settings=Settings,
    method="kdx2i.methods.drit_pp.method:Method",
)
