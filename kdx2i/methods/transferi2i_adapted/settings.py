"""Settings of TransferI2I* (Appendix B.3)."""

from kdx2i.methods.families.adapted.settings import AdaptedSettings, AdaptedTrain
from kdx2i.methods.families.three_phases.settings import Phases


class Train(Phases, AdaptedTrain):
    """TransferI2I's phases: source-target GAN, self-initialised blocks, translation with an auxiliary GAN."""


class Settings(AdaptedSettings):
    """Everything that a preset may say about TransferI2I*."""

    train: Train = Train()
