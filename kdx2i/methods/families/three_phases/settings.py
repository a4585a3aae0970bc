"""How long TransferI2I's phases are, on whichever networks. Torch-free."""

from pydantic import Field

from kdx2i.methods.settings import StrictSettings


class Phases(StrictSettings):
    """The GAN learns the data set, the adaptor the GAN's features, then the translation with an auxiliary GAN.

    To be named before a `TranslationTrain` among the bases of a training's settings.
    """

    iterations: int = Field(default=120_000, ge=1, description="of all phases (protocol entry transferi2i-length)")
    source_target_iterations: int = Field(default=10_000, ge=0, description="fine-tuning of the GAN on the data set")
    adaptor_iterations: int = Field(default=10_000, ge=0, description="self-initialisation, without data")
    lambda_aux: float = Field(default=1.0, ge=0, description="protocol entry transferi2i-auxiliary")

    @property
    def first_iterations(self) -> int:
        """Iterations before the translation."""
        return self.source_target_iterations + self.adaptor_iterations
