"""The training of DAMSM encoders (`code/pretrain_DAMSM.py` of taoxugit/AttnGAN) by the project's loop.

Vocabulary and batches are of training images alone.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.encoders.damsm.crops import crop, draw_crops
from kdx2i.encoders.damsm.encoders import Damsm, new_damsm
from kdx2i.encoders.damsm.losses import Encoded, Sharpness, damsm_loss
from kdx2i.encoders.damsm.settings import DamsmSettings, DamsmTraining
from kdx2i.encoders.damsm.text_model import WordVectors, load_text_model
from kdx2i.encoders.damsm.trunks import frozen_statistics
from kdx2i.errors import UserError
from kdx2i.tasks.conditions import CaptionCondition
from kdx2i.tasks.paired import PairedImages, PairedTask
from kdx2i.training import distributed
from kdx2i.training.optimizers import adam
from kdx2i.training.precision import place

SHOWN = 8


def training_captions(task: PairedTask[CaptionCondition]) -> list[str]:
    """Return all captions of a task's training images, in the order of the images."""
    return [caption for row in task.split.select("train") for caption in task.conditions.captions(row)]


class DamsmTrainable:
    """Text and image encoder, trained to find each other's captions and images within a batch.

    An epoch is as many batches as the training images fill. Where it begins, Adam may be made anew, and the rate falls.
    `damsm` are the encoders. `UserError` where the images do not fill a batch.
    """

    def __init__(
        self,
        settings: DamsmSettings,
        train: DamsmTraining,
        images: PairedImages[CaptionCondition],
        device: torch.device,
        *,
        text_model: Callable[[], WordVectors] = load_text_model,
    ) -> None:
        self.settings, self.train, self.images, self.device = settings, train, images, device
        captions = training_captions(images.task)
        count = len(images.task.split.select("train"))
        self.steps_an_epoch = count // train.batch
        if not self.steps_an_epoch:
            raise UserError(f"{count} training images do not fill a batch of {train.batch}: choose a smaller batch")
        self.damsm: Damsm = new_damsm(settings, captions, text_model=text_model)
        for module in self.damsm.modules.values():
            place(module, device).train()
        self.networks: Mapping[str, nn.Module] = self.damsm.modules
        self.averages: Mapping[str, nn.Module] = {}
        learned = [p for network in self.networks.values() for p in network.parameters() if p.requires_grad]
        rates = adam(learned, train.learning_rate, (train.beta1, train.beta2))
        self.optimizers: Mapping[str, Optimizer] = {"encoders": rates}

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: it falls after each epoch until it is no more than the least one."""
        t, epoch = self.train, step // self.steps_an_epoch
        if t.decay < 1 and t.least_rate > 0:
            epoch = min(epoch, math.ceil(math.log(t.least_rate) / math.log(t.decay)))
        return t.learning_rate * t.decay**epoch

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update both encoders on one batch; the losses by name."""
        t, optimizer = self.train, self.optimizers["encoders"]
        if t.restart_adam and step % self.steps_an_epoch == 0:
            optimizer.state.clear()
        for group in optimizer.param_groups:
            group["lr"] = self.rate(step)
        theta = distributed.shard(draw_crops(t.batch, t.crop))
        images, condition, classes = self.images.draw_labelled(t.batch)
        if t.trunk_statistics == "fixed":
            frozen_statistics(self.damsm.image)
        text = self.damsm.encode_text(condition.captions)
        regions, codes = self.damsm.encode_images(crop(images, theta))
        encoded = Encoded(regions, codes, text.words, text.sentences, text.lengths)
        terms = damsm_loss(encoded, classes, Sharpness(t.gamma1, t.gamma2, t.gamma3), t.weight)
        self._update(terms["total"], optimizer)
        return terms

    def _update(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Step down the loss; only the text encoder's gradient is bounded, as in the official code."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        distributed.average_gradients(parameters)
        nn.utils.clip_grad_norm_(self.damsm.text.parameters(), self.train.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def ema_decay(self, step: int) -> float:
        """Return 0: there are no averages."""
        return 0.0

    def preview(self) -> tuple[Tensor, int]:
        """Return training images as the encoder sees them."""
        torch.manual_seed(0)
        images, _ = self.images.draw(SHOWN * distributed.world_size())
        return crop(images, draw_crops(len(images), self.train.crop)), SHOWN

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors: rates follow from the step."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""
