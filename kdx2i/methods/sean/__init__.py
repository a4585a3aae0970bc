"""SEAN: image synthesis with semantic region-adaptive normalization (Zhu et al. 2020), the student for label maps."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.sean.settings import Settings

ARCHITECTURE = Architecture(
    name="sean",
    settings=Settings,
    method="kdx2i.methods.sean.method:Method",
    student="kdx2i.methods.sean.student:Student",
    task="label-map",
    modes=("map", "reference"),
)
