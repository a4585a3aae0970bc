"""TransferI2I* of Appendix B.3: TransferI2I rebuilt to resemble StarGAN v2."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.settings import updates_after_first_phases
from kdx2i.methods.transferi2i_adapted.settings import Settings

ARCHITECTURE = Architecture(
    name="transferi2i_adapted",
    settings=Settings,
    method="kdx2i.methods.transferi2i_adapted.method:Method",
    starts_from_teacher=True,
    count_updates=updates_after_first_phases,
)
