"""Networks of a few thousand parameters at 8 px and drawn pictures: a training step takes milliseconds."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.distill.i2i import I2IDistillation
from kdx2i.distill.transfers import TRANSFERS, TransferSettings
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.settings import I2IDistillSettings
from kdx2i.methods.stargan_v2.method import Method
from kdx2i.methods.stargan_v2.settings import Networks, Settings, Train
from kdx2i.methods.stargan_v2.student import Student
from kdx2i.methods.translation import TranslationMethod
from kdx2i.tasks.conditions import TranslationCondition
from kdx2i.teacher import biggan as biggan_networks
from kdx2i.teacher.augment import AugmentSettings
from kdx2i.teacher.stylegan2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.stylegan2.training import TeacherSettings, TeacherTraining
from kdx2i.teacher.stylegan2.weights import Teacher
from kdx2i.training.loop import LoopSettings, train
from kdx2i.training.sampling import BalancedImages

CPU = torch.device("cpu")
SIZES = Networks(style_dim=4, latent_dim=4, max_conv_dim=8, hidden_dim=8, dim_in=4, num_down=1)
CLASSES = 3


def pictures(count: int = 9, side: int = 8, seed: int = 5) -> Tensor:
    """Return smooth uint8 pictures [count, 3, side, side]."""
    coarse = torch.randint(0, 256, (count, 3, 2, 2), generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse.float(), size=side, mode="bilinear").round().to(torch.uint8)


def sampler(device: torch.device = CPU, side: int = 8) -> BalancedImages:
    """Return three pictures of each of three classes."""
    images = pictures(side=side)
    return BalancedImages(lambda indices: images[indices], torch.arange(9) // 3, CLASSES, device)


def generator_config(resolution: int = 8, **changes: Any) -> GeneratorConfig:
    """Return a generator of at most 8 channels."""
    sizes = {"z_dim": 6, "w_dim": 6, "num_layers": 2, "channel_base": 64, "channel_max": 8}
    return GeneratorConfig(resolution, **(sizes | changes))


def discriminator_config(resolution: int = 8, **changes: Any) -> DiscriminatorConfig:
    """Return a discriminator of at most 8 channels."""
    return DiscriminatorConfig(resolution, **({"channel_base": 64, "channel_max": 8} | changes))


BIGGAN = {"width": 2, "z_dim": 16, "shared_dim": 4, "attention": 16, "table": "truncated"}


def biggan(classes: int = CLASSES, seed: int = 0) -> tuple[biggan_networks.Generator, biggan_networks.Discriminator]:
    """Return a random BigGAN of a few thousand parameters at 32 px."""
    torch.manual_seed(seed)
    sizes: Any = dict(BIGGAN)
    generator = biggan_networks.Generator(biggan_networks.GeneratorConfig(32, num_classes=classes, **sizes))
    del sizes["z_dim"], sizes["shared_dim"]
    return generator, biggan_networks.Discriminator(
        biggan_networks.DiscriminatorConfig(32, num_classes=classes, **sizes)
    )


def teacher(resolution: int = 8, seed: int = 0, **changes: Any) -> Teacher:
    """Return a random teacher, frozen, whose noise, biases and mean style all matter."""
    torch.manual_seed(seed)
    generator = Generator(generator_config(resolution, **changes))
    discriminator = Discriminator(discriminator_config(resolution))
    with torch.no_grad():
        for module in (generator, discriminator):
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                if name.endswith(("bias", "noise_strength", "w_avg")):
                    tensor.add_(torch.randn_like(tensor) * 0.3)
    for module in (generator, discriminator):
        module.eval().requires_grad_(False)
    return Teacher(generator, discriminator, {})


def teacher_training(seed: int = 0, **changes: Any) -> TeacherTraining:
    """Return a teacher's training with every regulariser and the adaptive augmentation on."""
    images = pictures()
    defaults: dict[str, Any] = {
        "batch": 4,
        "r1_every": 2,
        "path_length_weight": 2.0,
        "path_length_every": 2,
        "augment": AugmentSettings(probability=0.3, target=0.6, speed_kimg=0.1, rotation=10.0, brightness=0.2),
    }
    settings = TeacherSettings(generator_config(), discriminator_config(), **(defaults | changes))
    return TeacherTraining(settings, lambda indices: images[indices], len(images), seed, CPU)


def student(seed: int = 1, device: torch.device = CPU, **changes: Any) -> Student:
    """Return a student with random weights."""
    torch.manual_seed(seed)
    return Student(SIZES.model_copy(update=changes), 8, device)


def distillation(
    transfer: str | TransferSettings = "kd", *, device: torch.device = CPU, seed: int = 1, **changes: Any
) -> I2IDistillation:
    """Return the distillation of the random teacher into a student; hints are needed at 8 px, not at 4."""
    settings = I2IDistillSettings(**({"mixing_layers": 2, "batch": 2} | changes))
    kept = TRANSFERS[transfer] if isinstance(transfer, str) else transfer
    return I2IDistillation(student(seed, device), teacher(), settings, kept, device)


def method(*, device: torch.device = CPU, seed: int = 2, images: bool = True, **changes: Any) -> Method:
    """Return StarGAN v2 for three classes."""
    settings = Settings(networks=SIZES, train=Train(**({"batch": 2, "ds_iterations": 10} | changes)))
    torch.manual_seed(seed)
    return Method(MethodSetup(settings, 8, CLASSES, device, sampler(device) if images else None))


def translated(
    subject: TranslationMethod[Any], x: Tensor, y: Tensor, guidance: str, references: Tensor | None = None
) -> Tensor:
    """Return what a method makes of images [B, 3, R, R] for the domains y [B]."""
    return subject.generate(TranslationCondition(x, y, guidance, references))


BUILDERS = {"teacher": teacher_training, "distillation": distillation, "method": method}
"""One trainable of each kind that the loop drives."""


class Interruption(Exception):  # noqa: N818 - not an error
    """Stands for whatever ends a process before its training is done."""


def run(
    kind: str, work: Path, iterations: int, *, stop_at: int | None = None, checkpoint_every: int = 2, log_every: int = 1
) -> Any:
    """Train a fresh trainable in `work`, raising `Interruption` when the step `stop_at` begins; return it."""
    trainable = BUILDERS[kind]()
    if stop_at is not None:
        proper = trainable.training_step

        def stopping(step: int) -> dict[str, Tensor]:
            if step == stop_at:
                raise Interruption
            return proper(step)

        trainable.training_step = stopping
    train(trainable, LoopSettings(iterations, 3, checkpoint_every, 2, log_every), work, kind)
    return trainable


def outcome(work: Path) -> dict[str, str]:
    """Return the SHA-256 of everything that a finished training leaves."""
    names = ("checkpoint.safetensors", "log.jsonl", "samples.png")
    return {name: hashlib.sha256((work / name).read_bytes()).hexdigest() for name in names}


def state_of(networks: Any) -> dict[str, Tensor]:
    """Return a copy of all tensors of some networks, named `<network>.<tensor>`."""
    return {
        f"{name}.{key}": tensor.clone()
        for name, module in networks.items()
        for key, tensor in module.state_dict().items()
    }


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Return the names of the tensors that differ."""
    return {name for name in before if not torch.equal(before[name], after[name])}


class Recorder(Optimizer):
    """An optimiser that keeps the gradients of every step and changes nothing."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(list(parameters), {})
        self.steps: list[list[Tensor]] = []

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        self.steps.append([torch.empty(0) if g is None else g.clone() for g in grads])


def record(trainable: Any) -> dict[str, Recorder]:
    """Replace a trainable's optimisers by recorders of the same parameters."""
    recorders = {
        name: Recorder(p for group in optimizer.param_groups for p in group["params"])
        for name, optimizer in trainable.optimizers.items()
    }
    trainable.optimizers = recorders
    return recorders
