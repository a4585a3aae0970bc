"""Settings that text, speech and label-map methods share. Torch-free."""

from pydantic import Field

from kdx2i.methods.settings import LoopBudget, StrictSettings


class PairedTrain(LoopBudget):
    """Stage 2 of a method whose conditions belong to images."""

    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="0: no averages")


class PairedSettings(StrictSettings):
    """Everything that a preset may say about such an architecture; `distill` is unused without a student."""

    networks: StrictSettings
    distill: StrictSettings = StrictSettings()
    train: PairedTrain
