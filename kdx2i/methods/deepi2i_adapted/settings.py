"""Settings of DeepI2I* (Appendix B.3)."""

from pydantic import Field

from kdx2i.methods.families.adapted.settings import AdaptedSettings, AdaptedTrain


class Train(AdaptedTrain):
    """DeepI2I's recipe: first the new parts and the discriminator, then all but the image encoder."""

    iterations: int = Field(default=100_501, ge=1)
    adaptor_iterations: int = Field(default=501, ge=0, description="first iterations: new parts and discriminator only")

    @property
    def first_iterations(self) -> int:
        """Iterations in which the teacher's parts do not learn."""
        return self.adaptor_iterations


class Settings(AdaptedSettings):
    """Everything that a preset may say about DeepI2I*."""

    train: Train = Train()
