"""StarGAN v2 (Choi et al. 2020): the student of the image-to-image tables."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.stargan_v2.settings import Settings

ARCHITECTURE = Architecture(
    name="stargan_v2",
    settings=Settings,
    method="kdx2i.methods.stargan_v2.method:Method",
    student="kdx2i.methods.stargan_v2.student:Student",
)
