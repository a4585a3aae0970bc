"""OASIS: adversarial supervision alone for semantic image synthesis (Schoenfeld, Sushko et al. 2021)."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.oasis.settings import Settings

ARCHITECTURE = Architecture(
    name="oasis",
    settings=Settings,
    method="kdx2i.methods.oasis.method:Method",
    task="label-map",
    modes=("map",),
)
