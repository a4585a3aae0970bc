"""CoCosNet v2: full-resolution correspondence learning for image translation (Zhou et al. 2021)."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.cocosnet_v2.settings import Settings

ARCHITECTURE = Architecture(
    name="cocosnet_v2",
    settings=Settings,
    method="kdx2i.methods.cocosnet_v2.method:Method",
    task="label-map",
    modes=("map",),
)
