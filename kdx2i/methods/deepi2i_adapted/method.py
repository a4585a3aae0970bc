"""DeepI2I* (Appendix B.3) in training and translation."""

from torch import Tensor

from kdx2i.methods.deepi2i_adapted.settings import Settings
from kdx2i.methods.families.adapted.method import LEARNING, NEW, AdaptedTranslation


class Method(AdaptedTranslation[Settings]):
    """DeepI2I's recipe on the networks of the adapted baselines."""

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Train the new parts and the discriminator first, then all but the image encoder."""
        return self.translation_step(step, NEW if step < self.settings.train.first_iterations else LEARNING)
