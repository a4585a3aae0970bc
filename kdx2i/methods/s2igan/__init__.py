"""S2IGAN: speech-to-image generation via adversarial learning (Wang et al. 2020)."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.s2igan.settings import Settings

ARCHITECTURE = Architecture(
    name="s2igan",
    settings=Settings,
    method="kdx2i.methods.s2igan.method:Method",
    student="kdx2i.methods.s2igan.student:Student",
    task="speech",
    modes=("audio",),
    reads_encoder=True,
)
