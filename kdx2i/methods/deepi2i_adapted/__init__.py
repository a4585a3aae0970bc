"""DeepI2I* of Appendix B.3: DeepI2I rebuilt to resemble StarGAN v2."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.deepi2i_adapted.settings import Settings, generator_updates

ARCHITECTURE = Architecture(
    name="deepi2i_adapted",
    settings=Settings,
    method="kdx2i.methods.deepi2i_adapted.method:Method",
    starts_from_teacher=True,
    count_updates=generator_updates,
)
