"""TransferI2I* of Appendix B.3: TransferI2I rebuilt to resemble StarGAN v2."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.transferi2i_adapted.settings import Settings, generator_updates

ARCHITECTURE = Architecture(
    name="transferi2i_adapted",
    settings=Settings,
    method="kdx2i.methods.transferi2i_adapted.method:Method",
    starts_from_teacher=True,
    count_updates=generator_updates,
)
