"""What DeepI2I* and TransferI2I* of Appendix B.3 share: networks, start from a teacher, StarGAN v2's half-steps."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.adapted_networks import (
    Beginning,
    Blocks,
    BranchedDiscriminator,
    Decoder,
    ImageEncoder,
    MappingNetworks,
    StyleEncoder,
    part_of,
)
from kdx2i.methods.adapted_settings import AdaptedNetworks, AdaptedTrain
from kdx2i.methods.stargan_losses import Guidance, Networks, Weights, discriminator_loss, generator_loss
from kdx2i.methods.translation import TranslationMethod, averages_of
from kdx2i.teacher.stylegan2 import DiscriminatorConfig, GeneratorConfig, channel_widths, resolutions
from kdx2i.teacher.weights import read_fitting_teacher
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place
from kdx2i.training.sampling import BalancedImages

TRANSLATING = ("encoder", "blocks", "decoder", "mapping_network", "style_encoder")
NEW = ("blocks", "style_encoder")
"""What holds layers that no teacher has: what the first phase of DeepI2I's recipe trains beside the discriminator."""
GENERATOR = ("blocks", "decoder")


class AdaptedMethod(TranslationMethod):
    """StarGAN v2's training on networks made from a StyleGAN2 teacher; the image encoder stays as it starts."""

    def __init__(
        self,
        networks: AdaptedNetworks,
        train: AdaptedTrain,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None,
        *,
        auxiliary: bool,
    ) -> None:
        super().__init__(train, num_classes, device, images)
        n, self.sizes, self.schedule = networks, networks, train
        if n.bottleneck not in resolutions(resolution)[:-1]:
            raise UserError(
                f"networks.bottleneck must be a power of two from 4 to {resolution // 2}, not {n.bottleneck}"
            )
        self.generator_config = GeneratorConfig(
            resolution,
            z_dim=n.z_dim,
            w_dim=n.w_dim,
            num_layers=n.mapping_layers,
            channel_base=n.channel_base,
            channel_max=n.channel_max,
            equalized_demodulation=n.equalized_demodulation,
        )
        self.discriminator_config = DiscriminatorConfig(
            resolution, channel_base=n.channel_base, channel_max=n.channel_max
        )
        built: dict[str, nn.Module] = {
            "encoder": ImageEncoder(self.discriminator_config, n.bottleneck).requires_grad_(False),
            "blocks": Blocks(channel_widths(self.generator_config)[n.bottleneck], n.w_dim, n.blocks),
            "decoder": Decoder(self.generator_config, n.bottleneck, n.noise),
            "mapping_network": MappingNetworks(self.generator_config, num_classes),
            "style_encoder": StyleEncoder(self.discriminator_config, n.w_dim, num_classes),
            "discriminator": BranchedDiscriminator(self.discriminator_config, num_classes),
        }
        if auxiliary:
            built["beginning"] = Beginning(self.generator_config, n.bottleneck, n.noise)
        self.networks: Mapping[str, nn.Module] = {name: place(module, device) for name, module in built.items()}
        # The encoder is frozen: it is its own average.
        averages = averages_of(self.networks, TRANSLATING)
        self.averages: Mapping[str, nn.Module] = averages | {"encoder": self.networks["encoder"]}
        rates = {
            "blocks": train.block_learning_rate,
            "mapping_network": train.mapping_learning_rate,
            "discriminator": train.discriminator_learning_rate,
        }
        self.optimizers: Mapping[str, Optimizer] = {
            name: adam(module.parameters(), rates.get(name, train.learning_rate), (train.beta1, train.beta2))
            for name, module in self.networks.items()
            if name != "encoder"
        }

    def start_from_teacher(self, path: Path) -> None:
        """Copy a teacher's networks; the new blocks keep their random start."""
        teacher = read_fitting_teacher(path, self.generator_config, self.discriminator_config)
        generator, discriminator = teacher.generator.state_dict(), teacher.discriminator.state_dict()
        bottleneck = self.sizes.bottleneck
        net: Any = self.networks
        net["encoder"].load_state_dict(part_of(discriminator, net["encoder"]))
        net["decoder"].load_state_dict(net["decoder"].teacher_part(generator, bottleneck))
        for mapping in net["mapping_network"].classes:
            mapping.load_state_dict({k: generator[f"mapping.{k}"] for k in mapping.state_dict()})
        net["style_encoder"].take_over(discriminator, teacher.generator.mapping.w_avg)
        net["discriminator"].take_over(discriminator)
        if "beginning" in net:
            net["beginning"].load_state_dict({k: generator[f"synthesis.{k}"] for k in net["beginning"].state_dict()})
        self.copy_to_averages()

    def copy_to_averages(self) -> None:
        """Let the averages start at the networks."""
        for name, average in self.averages.items():
            average.load_state_dict(self.networks[name].state_dict())

    def callables(self, networks: Mapping[str, nn.Module]) -> Networks:
        """Return the functions that StarGAN v2's objective uses: content is the encoder's output."""
        blocks, decoder = networks["blocks"], networks["decoder"]
        return Networks(
            encode=networks["encoder"],
            decode=lambda content, w: cast(Tensor, decoder(blocks(content, w), w)),
            mapping=networks["mapping_network"],
            style=networks["style_encoder"],
            discriminator=self.networks["discriminator"],
        )

    def training_step(self, step: int) -> dict[str, Tensor]:
        """DeepI2I's recipe: the new parts and the discriminator first, then all but the image encoder."""
        trained = NEW if step < self.schedule.adaptor_iterations else (*GENERATOR, "mapping_network", "style_encoder")
        return self.translation_step(step, trained)

    def translation_step(self, step: int, trained: Iterable[str]) -> dict[str, Tensor]:
        """One iteration of StarGAN v2 (discriminator, then generator, each latent- and reference-guided).

        Of the generating networks only `trained` learn; in the reference-guided half-step the blocks and the decoder.
        """
        t = self.schedule
        with autocast(self.device, t.precision):
            x, y, latent, reference = self.draw()
            remaining = max(0.0, 1.0 - (step - t.first_iterations) / t.ds_iterations)
            weights = Weights(t.lambda_reg, t.lambda_sty, t.lambda_ds * min(1.0, remaining), t.lambda_cyc)
            networks = self.callables(self.networks)
            with torch.no_grad():
                content = networks.encode(x)
            scalars: dict[str, Tensor] = {}
            for name, guidance in (("latent", latent), ("reference", reference)):
                terms = discriminator_loss(networks, x, y, guidance, weights, content)
                total = terms["total"] + self.auxiliary_loss(guidance, for_generator=False)
                step_optimizers(total, self.optimizers["discriminator"])
                scalars[f"d_{name}"] = terms["total"]
            for name, guidance in (("latent", latent), ("reference", reference)):
                terms = generator_loss(networks, x, y, guidance, weights, content)
                learning = [n for n in trained if name == "latent" or n in GENERATOR]
                total = terms["total"] + self.auxiliary_loss(guidance, for_generator=True)
                step_optimizers(total, *(self.optimizers[n] for n in learning))
                scalars |= {f"{term}_{name}": value for term, value in terms.items() if term != "total"}
        return scalars

    def auxiliary_loss(self, guidance: Guidance, *, for_generator: bool) -> Tensor | float:
        """Return a further term of the adversarial objectives of a half-step: nothing here."""
        return 0.0

    def draw(self) -> tuple[Tensor, Tensor, Guidance, Guidance]:
        """Draw sources with labels, and the latent and the reference guidance of one iteration."""
        t, images = self.schedule, self.images
        y_org, y_trg = images.draw_labels(t.batch), images.draw_labels(t.batch)
        x = images.draw(y_org, t.crop_probability)
        first, second = (images.draw(y_trg, t.crop_probability) for _ in range(2))
        z = [shard(part).to(self.device) for part in torch.randn(2, t.batch, self.sizes.z_dim)]
        target = shard(y_trg).to(self.device)
        latent = Guidance(target, z=z[0], z2=z[1])
        return x, shard(y_org).to(self.device), latent, Guidance(target, x_ref=first, x_ref2=second)

    def ema_decay(self, step: int) -> float:
        """The configured decay from the start of translation on, before it no average."""
        since = step - self.schedule.first_iterations
        return super().ema_decay(since) if since >= 0 else 0.0

    @torch.no_grad()
    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the classes y [B], clamped to [-1, 1]; modes `latent` and `reference`."""
        x, y = x.to(self.device), y.to(self.device)
        networks = self.callables(self.averages)
        if mode == "latent":
            style = networks.mapping(torch.randn(len(x), self.sizes.z_dim).to(self.device), y)
        elif mode == "reference" and references is not None:
            style = networks.style(references.to(self.device), y)
        else:
            raise ValueError(f"the mode `{mode}` is unknown or lacks its reference images")
        return networks.decode(networks.encode(x), style).clamp(-1, 1)
