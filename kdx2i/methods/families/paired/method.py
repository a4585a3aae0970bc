"""What text, speech and label-map methods of stage 2 share: their images, averages, optimisers and previews."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.paired.settings import PairedSettings
from kdx2i.tasks.paired import PairedImages
from kdx2i.training import distributed
from kdx2i.training.optimizers import adam
from kdx2i.training.sampling import columns

PairedSettingsT = TypeVar("PairedSettingsT", bound=PairedSettings)
ConditionT = TypeVar("ConditionT")


class PairedMethod(Generic[PairedSettingsT, ConditionT]):
    """A method that makes an image of a condition of `kdx2i.tasks.conditions`.

    A subclass fills `networks`, `averages` (`kdx2i.methods.translation.averages_of`) and `optimizers`, and has
    `training_step` and `_generate`. It stands in the folder of its architecture.
    """

    averages_start: int = 0
    """The step from which on the averages lag behind the networks; before it they equal them."""

    def __init__(self, setup: MethodSetup[PairedSettingsT]) -> None:
        self.setup, self.settings, self.device = setup, setup.settings, setup.device
        self.networks: Mapping[str, nn.Module] = {}
        self.averages: Mapping[str, nn.Module] = {}
        self.optimizers: Mapping[str, Optimizer] = {}

    @property
    def architecture(self) -> str:
        """The name of the architecture, which is that of its folder."""
        return type(self).__module__.split(".")[-2]

    @property
    def images(self) -> PairedImages[ConditionT]:
        """The images to train on; `RuntimeError` for a method that only generates."""
        if self.setup.images is None:
            raise RuntimeError("this method was built without images to train on")
        images: PairedImages[ConditionT] = self.setup.images
        return images

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Refuse a distilled student: a method that has one replaces this."""
        raise UserError(f"{self.architecture} has no distilled student; its transfer is `scratch`")

    def share(self, joint: Tensor) -> Tensor:
        """Return this process's share [B / ranks, ...] of what was drawn for a joint batch [B, ...], on the device."""
        return distributed.shard(joint).to(self.device)

    def adam(self, names: tuple[str, ...], rate: float, betas: tuple[float, float], *, eps: float = 1e-8) -> Optimizer:
        """Return one Adam over the parameters of the named networks that learn."""
        parameters = [p for name in names for p in self.networks[name].parameters() if p.requires_grad]
        return adam(parameters, rate, betas, eps=eps)

    def copy_to_averages(self) -> None:
        """Let the averages start at the networks."""
        for name, average in self.averages.items():
            average.load_state_dict(self.networks[name].state_dict())

    def ema_decay(self, step: int) -> float:
        """Return the decay of the averages after a step: zero before `averages_start`."""
        since = step - self.averages_start
        return self.settings.train.average_decay(since) if since >= 0 else 0.0

    @torch.no_grad()
    def generate(self, condition: ConditionT) -> Tensor:
        """Return images [B, 3, R, R] in [-1, 1] of the averaged networks.

        Noise is from torch's global generator. `UserError` for a condition that the method has no networks for.
        """
        return self._generate(on_device(condition, self.device)).clamp(-1, 1)

    def _generate(self, condition: ConditionT) -> Tensor:
        """Make images [B, 3, R, R], to about [-1, 1], of a condition on the device, with the averages."""
        raise NotImplementedError

    def pictures(self, condition: ConditionT) -> list[Tensor]:
        """Return what can be shown of a condition of B images, rows of images [B, 3, R, R] in [-1, 1]: nothing."""
        return []

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Up to eight training images, what can be shown of their conditions, and what is made of these conditions."""
        torch.manual_seed(0)
        # Each process gets its share of a draw, and only one draws a preview.
        count = columns(self.settings.train.batch)
        images, condition = self.images.draw(count * distributed.world_size())
        return torch.cat([images, *self.pictures(condition), self.generate(condition)]), count

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors: rates and weights follow from the step."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""


def on_device(condition: ConditionT, device: torch.device) -> ConditionT:
    """Return a condition (a dataclass) with its tensors, alone or in tuples, on a device."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device)
        return tuple(moved(item) for item in value) if isinstance(value, tuple) else value

    if not is_dataclass(condition) or isinstance(condition, type):
        raise TypeError(f"{condition!r} is no condition")
    return replace(condition, **{field.name: moved(getattr(condition, field.name)) for field in fields(condition)})


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give all parameters of an optimiser a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
