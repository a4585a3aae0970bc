"""What image-to-image methods of stage 2 share: their images, averages and previews."""

import copy
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.settings import LoopBudget
from kdx2i.training.sampling import BalancedImages

SHOWN = 8


class TranslationMethod:
    """A method for `num_classes` domains on one device; `images` is None when it only translates.

    A subclass fills `networks`, `averages` and `optimizers`, and has `training_step`, `translate` and `modes`.
    """

    modes: tuple[str, ...] = ("latent", "reference")

    def __init__(
        self, budget: LoopBudget, num_classes: int, device: torch.device, images: BalancedImages | None
    ) -> None:
        self.budget, self.num_classes, self.device, self._images = budget, num_classes, device, images
        self.networks: Mapping[str, nn.Module] = {}
        self.averages: Mapping[str, nn.Module] = {}
        self.optimizers: Mapping[str, Optimizer] = {}

    @property
    def images(self) -> BalancedImages:
        """The images to train on."""
        if self._images is None:
            raise RuntimeError("this method was built without images to train on")
        return self._images

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Refuse a distilled student: a method that has one replaces this."""
        name = type(self).__module__.split(".")[-2]
        raise UserError(f"{name} has no distilled student; its transfer is `scratch`")

    def one_hot(self, labels: Tensor) -> Tensor:
        """Return domains int64 [B] as one-hot [B, num_classes] on the device."""
        return F.one_hot(labels, self.num_classes).float().to(self.device)

    def hold_then_decay(self, names: Iterable[str], rate: float, step: int, start: float) -> None:
        """Hold the rate of these optimisers for a share `start` of the training, then let it fall to zero."""
        hold = start * self.budget.iterations
        share = 1.0 - max(0.0, step - hold) / (self.budget.iterations - hold + 1)
        for name in names:
            for group in self.optimizers[name].param_groups:
                group["lr"] = rate * share

    def ema_decay(self, step: int) -> float:
        """The configured decay, bounded at the start when `ema_warm_up` is on."""
        bound = (1 + step) / (10 + step) if self.budget.ema_warm_up else 1.0
        return min(self.budget.ema_decay, bound)

    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """See `kdx2i.methods.base.I2IMethod`."""
        raise NotImplementedError

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Eight sources, references where they are used, and translations to random domains, a row a mode."""
        torch.manual_seed(0)
        y, targets = self.images.draw_labels(SHOWN), self.images.draw_labels(SHOWN)
        x, references = (self.images.draw(labels, 0.0, share=False) for labels in (y, targets))
        shown = [x, references] if "reference" in self.modes else [x]
        rows = self.modes if len(self.modes) > 1 else 2 * self.modes
        shown += [self.translate(x, targets, mode, references) for mode in rows]
        return torch.cat(shown), SHOWN

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors: rates and weights follow from the step."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""


def averages_of(networks: Mapping[str, nn.Module], names: Iterable[str]) -> dict[str, nn.Module]:
    """Return frozen copies, in evaluation mode, of the named networks."""
    return {name: copy.deepcopy(networks[name]).eval().requires_grad_(False) for name in names}
