"""DeepI2I* of Appendix B.3: DeepI2I rebuilt to resemble StarGAN v2."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.deepi2i_adapted.settings import Settings
from kdx2i.methods.settings import updates_after_first_phases

ARCHITECTURE = Architecture(
    name="deepi2i_adapted",
    settings=Settings,
    method="kdx2i.methods.deepi2i_adapted.method:Method",
    starts_from_teacher=True,
    count_updates=updates_after_first_phases,
)
