"""What image-to-image methods of stage 2 share: their images, averages, optimisers, guidance and previews."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.settings import TranslationSettings
from kdx2i.tasks.conditions import TranslationCondition
from kdx2i.training import distributed
from kdx2i.training.optimizers import adam
from kdx2i.training.sampling import BalancedImages, columns

TranslationSettingsT = TypeVar("TranslationSettingsT", bound=TranslationSettings)


class TranslationMethod(Generic[TranslationSettingsT]):
    """A method that translates images to one of several domains.

    A subclass fills `networks`, `averages` and `optimizers`, and has `training_step` and `_translate`. It stands in
    the folder of its architecture or in that of a family.
    """

    guidances: tuple[str, ...] = ("latent", "reference")
    averages_start: int = 0
    """The step from which on the averages lag behind the networks; before it they equal them."""

    def __init__(self, setup: MethodSetup[TranslationSettingsT]) -> None:
        self.setup, self.settings = setup, setup.settings
        self.num_classes, self.device = setup.num_classes, setup.device
        self.networks: Mapping[str, nn.Module] = {}
        self.averages: Mapping[str, nn.Module] = {}
        self.optimizers: Mapping[str, Optimizer] = {}

    @property
    def architecture(self) -> str:
        """The name of the architecture, which is that of its folder."""
        return type(self).__module__.split(".")[-2]

    @property
    def images(self) -> BalancedImages:
        """The images to train on; `RuntimeError` for a method that only translates."""
        if self.setup.images is None:
            raise RuntimeError("this method was built without images to train on")
        images: BalancedImages = self.setup.images
        return images

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Refuse a distilled student: a method that has one replaces this."""
        raise UserError(f"{self.architecture} has no distilled student; its transfer is `scratch`")

    def share(self, joint: Tensor) -> Tensor:
        """Return this process's share [B, ...] of what was drawn for a joint batch, on the device."""
        return distributed.shard(joint).to(self.device)

    def one_hot(self, labels: Tensor) -> Tensor:
        """Return domains int64 [B] as one-hot [B, num_classes] on the device."""
        return F.one_hot(labels, self.num_classes).float().to(self.device)

    def adams(
        self, rates: Mapping[str, float], *, eps: float = 1e-8, weight_decay: float = 0.0
    ) -> dict[str, Optimizer]:
        """Return an Adam with its rate for each of the named networks, over the parameters that learn."""
        t = self.settings.train
        return {
            name: adam(
                [p for p in self.networks[name].parameters() if p.requires_grad],
                rate,
                (t.beta1, t.beta2),
                eps=eps,
                weight_decay=weight_decay,
            )
            for name, rate in rates.items()
        }

    def hold_then_decay(self, names: Iterable[str], rate: float, step: int, start: float) -> None:
        """Hold the rate of these optimisers for a share `start` of the training, then let it fall to zero."""
        iterations = self.settings.train.iterations
        hold = start * iterations
        share = 1.0 - max(0.0, step - hold) / (iterations - hold + 1)
        for name in names:
            for group in self.optimizers[name].param_groups:
                group["lr"] = rate * share

    def steps_at_same_weights(self, *plans: tuple[Tensor, Iterable[str]]) -> None:
        """Take a step down each objective in turn, into the networks named with it.

        Official code takes each gradient at weights that the steps before have changed since the forward pass, which
        autograd refuses; here all belong to the weights of the forward pass (protocol entry generator-steps).
        """
        steps = []
        for objective, names in plans:
            trained = list(names)
            parameters = [p for name in trained for p in self.networks[name].parameters()]
            gradients = torch.autograd.grad(objective, parameters, retain_graph=True, allow_unused=True)
            steps.append((trained, parameters, gradients))
        for trained, parameters, gradients in steps:
            put_gradients(parameters, gradients)
            for name in trained:
                self.optimizers[name].step()
                self.optimizers[name].zero_grad(set_to_none=True)

    def copy_to_averages(self) -> None:
        """Let the averages start at the networks."""
        for name, average in self.averages.items():
            average.load_state_dict(self.networks[name].state_dict())

    def ema_decay(self, step: int) -> float:
        """Return the decay of the averages after a step: zero before `averages_start`."""
        since = step - self.averages_start
        return self.settings.train.average_decay(since) if since >= 0 else 0.0

    @torch.no_grad()
    def generate(self, condition: TranslationCondition) -> Tensor:
        """Return the translations [B, 3, R, R] in [-1, 1] of the averaged networks.

        `UserError` for a guidance that the method has no networks for.
        """
        if condition.guidance not in self.guidances:
            known = " and ".join(f"`{guidance}`" for guidance in self.guidances)
            raise UserError(
                f"{self.architecture} with these networks has no mode `{condition.guidance}`, but only {known}"
            )
        given = condition.to(self.device)
        references = given.references if given.guidance == "reference" else None
        return self._translate(given.sources, given.targets, references).clamp(-1, 1)

    def _translate(self, x: Tensor, y: Tensor, references: Tensor | None) -> Tensor:
        """Translate x [B, 3, R, R] to the domains y [B] with the averages, to about [-1, 1].

        Styles are those of `references` [B, 3, R, R], or drawn from torch's global generator without them.
        """
        raise NotImplementedError

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Up to eight sources, references where they are used, and translations to random domains, a row a guidance."""
        torch.manual_seed(0)
        count = columns(self.settings.train.batch)
        y, targets = self.images.draw_labels(count), self.images.draw_labels(count)
        x, references = (self.images.draw(labels, 0.0, share=False) for labels in (y, targets))
        shown = [x, references] if "reference" in self.guidances else [x]
        rows = self.guidances if len(self.guidances) > 1 else 2 * self.guidances
        shown += [self.generate(TranslationCondition(x, targets, guidance, references)) for guidance in rows]
        return torch.cat(shown), count

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors: rates and weights follow from the step."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""


def averages_of(networks: Mapping[str, nn.Module], names: Iterable[str]) -> dict[str, nn.Module]:
    """Return frozen copies, in evaluation mode, of the named networks."""
    return {name: copy.deepcopy(networks[name]).eval().requires_grad_(False) for name in names}


def put_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Give parameters of any shape their gradients of the same shape, averaged over processes."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    distributed.average_gradients(parameters)
