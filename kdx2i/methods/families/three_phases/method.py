"""TransferI2I's phases (arXiv 2105.06219) as steps of a training, on whichever networks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer

from kdx2i.methods.families.three_phases.settings import Phases


class ThreePhases(ABC):
    """To be named before a `TranslationMethod` among the bases of a method.

    (1) Source-target initialisation: the teacher's GAN is fine-tuned on the labelled images. (2) Self-initialisation:
    without data, the adaptor learns to turn the features that the fine-tuned discriminator has of a generated image
    back into those of the generator. (3) Translation: the encoder is that discriminator, and the plain GAN, which
    shares the generator, makes further fakes (auxiliary GAN).
    """

    optimizers: Mapping[str, Optimizer]

    def phase_step(self, step: int, phases: Phases) -> dict[str, Tensor]:
        """One step of the phase that `step` belongs to; optimisers start afresh with each phase."""
        if step in (phases.source_target_iterations, phases.first_iterations):
            for optimizer in self.optimizers.values():
                optimizer.state.clear()
        if step < phases.source_target_iterations:
            return self.source_target_step()
        if step == phases.source_target_iterations:
            self.adopt_discriminators()
        if step < phases.first_iterations:
            return self.self_initialisation_step()
        return self.last_phase_step(step)

    @abstractmethod
    def source_target_step(self) -> dict[str, Tensor]:
        """Fine-tune the plain GAN on the images and their classes; return named scalars."""

    @abstractmethod
    def adopt_discriminators(self) -> None:
        """Let the encoders start at the fine-tuned discriminators."""

    @abstractmethod
    def self_initialisation_step(self) -> dict[str, Tensor]:
        """Fit the adaptor, without data, to the generator's features of its own images; return named scalars."""

    @abstractmethod
    def last_phase_step(self, step: int) -> dict[str, Tensor]:
        """Train the translation; return named scalars."""
