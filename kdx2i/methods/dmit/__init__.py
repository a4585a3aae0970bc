"""DMIT: multi-mapping image-to-image translation via learning disentanglement (Yu et al. 2019)."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.dmit.settings import Settings

ARCHITECTURE = Architecture(
    name="dmit",
    settings=Settings,
    method="kdx2i.methods.dmit.method:Method",
)
