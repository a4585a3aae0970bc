"""Speed of one StarGAN v2 training iteration: this suite's against the straightforward formulation of the same one.

    python benchmarks/speed/stargan_step.py --resolution 64 --repeats 5

Both start from the same weights with the same random numbers, at the sizes and batch of a preset. The straightforward
one does what the equations say, step by step: every half-step encodes the source again, every head of every domain is
computed and one is picked, blocks run layer by layer, gradients reach every network that took part, tensors keep
PyTorch's default layout, and averages and optimisers go parameter by parameter. The losses of both are compared.
"""

import argparse
import copy
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from common import in_turns, middle, report, use_threads


def command_line() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="open")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--classes", type=int, default=20, help="domains: open-animal-faces has 20, open-foods 62")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


def main() -> None:
    """Measure both, compare the losses, print and write."""
    arguments = command_line()
    use_threads(arguments.threads)

    import torch

    from kdx2i.config import find_root
    from kdx2i.methods.base import MethodSetup
    from kdx2i.methods.stargan_v2.method import Method
    from kdx2i.methods.stargan_v2.settings import Settings
    from kdx2i.suite import make_plan
    from kdx2i.training.loop import update_averages
    from kdx2i.training.sampling import BalancedImages

    torch.set_num_threads(arguments.threads)
    of_preset = make_plan(find_root(), arguments.preset).settings("stargan_v2", arguments.resolution)
    settings = Settings(networks=of_preset["networks"], train=of_preset["train"])
    side, classes, device = arguments.resolution, arguments.classes, torch.device("cpu")
    torch.manual_seed(0)
    images = torch.randint(0, 256, (4 * classes, 3, side, side), dtype=torch.uint8)
    sampler = BalancedImages(lambda i: images[i], torch.arange(4 * classes) // 4, classes, device)
    method = Method(MethodSetup(settings, side, classes, device, sampler))
    plain = Straightforward(method)

    def step(number: int, call: Any) -> dict[str, float]:
        torch.manual_seed(number)
        return {name: float(value.detach()) for name, value in call().items()}

    # At a rate of zero all half-steps see the same weights: Adam's first steps follow the sign of a gradient, and
    # where that is zero but for rounding, weights part.
    with held(method.optimizers, plain.optimizers):
        suite_losses = step(1, lambda: method.training_step(0))
        plain_losses = step(1, lambda: plain.training_step(0))
    difference = max(abs(suite_losses[name] - loss) for name, loss in plain_losses.items())

    def of_the_suite() -> None:
        step(2, lambda: method.training_step(1))
        update_averages(method, 0.99)

    def straightforward() -> None:
        step(2, lambda: plain.training_step(1))
        plain.update_averages(0.99)

    calls = {"this suite": of_the_suite, "straightforward": straightforward}
    for call in calls.values():
        call()
    wall = in_turns(calls, arguments.repeats)
    processor = in_turns(calls, arguments.repeats, time.process_time)
    rows: list[dict[str, Any]] = [
        {"what": name, "wall s": middle(wall[name]), "processor s": middle(processor[name])} for name in calls
    ]
    ratios = [b / a for a, b in zip(wall["this suite"], wall["straightforward"], strict=True)]
    rows[1]["times this suite"] = middle(ratios)
    rows.append({"what": "largest difference of a loss", "of the losses": difference})
    title = f"One iteration at {side} px, {classes} domains, batch {settings.train.batch}"
    report(title, rows, arguments.json)


@contextmanager
def held(*optimizers: Mapping[str, Any]) -> Iterator[None]:
    """Let no optimiser move a weight inside the block."""
    groups = [group for some in optimizers for optimizer in some.values() for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    for group in groups:
        group["lr"] = 0.0
    yield
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate


def plain_blocks(network: Any) -> Any:
    """Let every block of a network compute its layers one after the other, as `core/model.py` writes them."""
    import torch.nn.functional as F

    from kdx2i.methods.families.stargan import blocks

    def norm(layer: Any, x: Any) -> Any:
        return F.instance_norm(x, weight=layer.weight, bias=layer.bias)

    class PlainResBlk(blocks.ResBlk):
        def forward(self, x: Any) -> Any:
            short = x if self.conv1x1 is None else self.conv1x1(x)
            short = F.avg_pool2d(short, 2) if self.downsample else short
            y = self.conv1(F.leaky_relu(norm(self.norm1, x) if self.normalize else x, blocks.SLOPE))
            y = F.avg_pool2d(y, 2) if self.downsample else y
            y = self.conv2(F.leaky_relu(norm(self.norm2, y) if self.normalize else y, blocks.SLOPE))
            return (y + short) / 2**0.5

    class PlainAdaIN(blocks.AdaIN):
        def forward(self, x: Any, s: Any) -> Any:
            gamma, beta = self.fc(s)[:, :, None, None].chunk(2, dim=1)
            return (1 + gamma) * F.instance_norm(x) + beta

    class PlainAdainResBlk(blocks.AdainResBlk):
        def forward(self, x: Any, s: Any) -> Any:
            short = F.interpolate(x, scale_factor=2, mode="nearest") if self.upsample else x
            short = short if self.conv1x1 is None else self.conv1x1(short)
            y = F.leaky_relu(self.norm1(x, s), blocks.SLOPE)
            y = self.conv1(F.interpolate(y, scale_factor=2, mode="nearest") if self.upsample else y)
            return (self.conv2(F.leaky_relu(self.norm2(y, s), blocks.SLOPE)) + short) / 2**0.5

    plain = {blocks.ResBlk: PlainResBlk, blocks.AdaIN: PlainAdaIN, blocks.AdainResBlk: PlainAdainResBlk}
    for module in network.modules():
        module.__class__ = plain.get(type(module), type(module))
    return network


class Straightforward:
    """The iteration of `core/solver.py` as written there, on copies of a method's networks."""

    def __init__(self, method: Any) -> None:
        import torch
        from torch.optim import Adam

        self.method, t = method, method.settings.train
        plain = {"memory_format": torch.contiguous_format}
        self.networks = {name: plain_blocks(copy.deepcopy(net)).to(**plain) for name, net in method.networks.items()}
        self.averages = {name: plain_blocks(copy.deepcopy(net)).to(**plain) for name, net in method.averages.items()}
        rates = dict.fromkeys(self.networks, t.learning_rate) | {"mapping_network": t.mapping_learning_rate}
        self.optimizers = {
            name: Adam(
                net.parameters(),
                lr=rates[name],
                betas=(t.beta1, t.beta2),
                weight_decay=t.weight_decay,
                foreach=False,
            )
            for name, net in self.networks.items()
        }

    def training_step(self, step: int) -> dict[str, Any]:
        """One iteration on the batch that the suite's method would draw."""
        t = self.method.settings.train
        x, y, latent, reference = self.method.draw()
        x = x.contiguous()
        weight = t.lambda_ds * max(0.0, 1.0 - step / t.ds_iterations)
        scalars = {}
        guides = {
            "latent": (latent.y_trg, (latent.z, latent.z2), None),
            "reference": (reference.y_trg, None, (reference.x_ref.contiguous(), reference.x_ref2.contiguous())),
        }
        for name, (target, noise, images) in guides.items():
            loss = self.discriminator_loss(x, y, target, noise, images)
            self._update(loss, "discriminator")
            scalars[f"d_{name}"] = loss
        for name, (target, noise, images) in guides.items():
            terms = self.generator_terms(x, y, target, noise, images)
            total = terms["adv"] + t.lambda_sty * terms["sty"] - weight * terms["ds"] + t.lambda_cyc * terms["cyc"]
            trained = ("generator", "mapping_network", "style_encoder") if noise is not None else ("generator",)
            self._update(total, *trained)
            scalars |= {f"{term}_{name}": value for term, value in terms.items()}
        return scalars

    def _update(self, loss: Any, *names: str) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for name in names:
            self.optimizers[name].step()

    def _style(self, target: Any, noise: Any, images: Any, which: int) -> Any:
        if noise is not None:
            return self.pick(self.networks["mapping_network"], noise[which], target)
        return self.pick(self.networks["style_encoder"], images[which], target)

    @staticmethod
    def pick(network: Any, x: Any, y: Any) -> Any:
        """Compute the heads of all domains and pick that of each sample."""
        import torch

        h = network.shared(x).flatten(1)
        heads = network.unshared
        every = [heads(h, torch.full_like(y, domain)) for domain in range(heads.num_domains)]
        return torch.stack(every, 1)[torch.arange(len(y)), y]

    def discriminator_loss(self, x: Any, y: Any, target: Any, noise: Any, images: Any) -> Any:
        """Return the discriminator's objective with R1."""
        import torch
        import torch.nn.functional as F

        net = self.networks
        x = x.clone().requires_grad_()
        logits = net["discriminator"](x, y)
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        penalty = 0.5 * gradient.square().flatten(1).sum(1).mean()
        with torch.no_grad():
            fake = net["generator"](x, self._style(target, noise, images, 0))
        fake_logits = net["discriminator"](fake, target)
        ones, zeros = torch.ones_like(logits), torch.zeros_like(fake_logits)
        real_loss = F.binary_cross_entropy_with_logits(logits, ones)
        fake_loss = F.binary_cross_entropy_with_logits(fake_logits, zeros)
        return real_loss + fake_loss + self.method.settings.train.lambda_reg * penalty

    def generator_terms(self, x: Any, y: Any, target: Any, noise: Any, images: Any) -> dict[str, Any]:
        """Return the generator's terms."""
        import torch
        import torch.nn.functional as F

        net = self.networks
        style = self._style(target, noise, images, 0)
        fake = net["generator"](x, style)
        logits = net["discriminator"](fake, target)
        adv = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        sty = (self.pick(net["style_encoder"], fake, target) - style).abs().mean()
        second = net["generator"](x, self._style(target, noise, images, 1)).detach()
        back = net["generator"](fake, self.pick(net["style_encoder"], x, y))
        return {
            "adv": adv,
            "sty": sty,
            "ds": (fake - second).abs().mean(),
            "cyc": (back - x).abs().mean(),
        }

    def update_averages(self, decay: float) -> None:
        """Move every average, parameter by parameter."""
        import torch

        for name, average in self.averages.items():
            pairs = zip(average.parameters(), self.networks[name].parameters(), strict=True)
            for averaged, current in pairs:
                averaged.data = torch.lerp(current.data, averaged.data, decay)


if __name__ == "__main__":
    main()
