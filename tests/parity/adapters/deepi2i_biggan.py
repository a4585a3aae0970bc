"""DeepI2I's many-class variant: BigGAN's networks, the adaptor between them, and the objectives."""

import torch

from kdx2i.methods.families.biggan.losses import (
    discriminator_hinge,
    feature_distances,
    feature_pairs,
    generator_hinge,
    weighted_sum,
)
from kdx2i.methods.families.biggan.networks import Adaptor, weighted
from kdx2i.teacher.biggan import BOTTOM, Discriminator, DiscriminatorConfig, Generator, GeneratorConfig

from ..subject import ModuleSubject

FIXED = {"G_shared": True, "hier": True, "G_param": "SN", "norm_style": "bn", "bottom_width": BOTTOM}
FIXED |= {"D_param": "SN", "output_dim": 1}


def check(config):
    """Refuse the values for which the official code has another network."""
    for key, value in FIXED.items():
        assert config.get(key, value) == value, f"{key}: {config[key]}"


def generator_config(config):
    check(config)
    return GeneratorConfig(
        resolution=config["resolution"],
        width=config["G_ch"],
        num_classes=config["n_classes"],
        z_dim=config["dim_z"],
        shared_dim=config["shared_dim"],
        attention=int(config["G_attn"]),
        bn_eps=config["BN_eps"],
        sn_eps=config["SN_eps"],
    )


def discriminator_config(config):
    check(config)
    return DiscriminatorConfig(
        resolution=config["resolution"],
        width=config["D_ch"],
        num_classes=config["n_classes"],
        attention=int(config["D_attn"]),
        wide=config["D_wide"],
        inplace="inplace=True" in config.get("D_activation", "inplace=True"),
        sn_eps=config["SN_eps"],
    )


def adaptor(config):
    # The adaptor's widths follow from the discriminator's: the official code doubles them but for the last.
    d = discriminator_config(config)
    g = GeneratorConfig(resolution=config["resolution"], width=config["D_ch"], num_classes=config["n_classes"])
    return Adaptor(g, d, (32, 16, 8, 4), eps=config["SN_eps"])


def by_side(prefix, features):
    return {f"{prefix}{side}": feature for side, feature in features.items()}


class BigGenerator(ModuleSubject):
    def __init__(self, config, entry):
        super().__init__(Generator(generator_config(config)), entry)
        self.weights = {int(r): w for r, w in config.get("E1_fea_w", {}).items()}

    @torch.no_grad()
    def run(self, inputs):
        embedding = self.module.shared(inputs["y"])
        additions = weighted({r: inputs[f"feat{r}"] for r in self.weights}, self.weights)
        with self.recording(["output_layer"], lambda name: "image_pretanh") as recorded:
            image, features = self.module.render(inputs["z"], embedding, additions)
        return {"image": image, "class_embedding": embedding, **by_side("g", features), **recorded}


class BigDiscriminator(ModuleSubject):
    """The discriminator, or the encoder: the same network without classes."""

    def __init__(self, config, entry):
        super().__init__(Discriminator(discriminator_config(config)), entry)

    @torch.no_grad()
    def run(self, inputs):
        encoder = "out" in self.output_keys
        with self.recording([f"blocks.{len(self.module.blocks) - 1}.0"], lambda name: "feat4_plain") as recorded:
            logits, features = self.module(inputs["x"], None if encoder else inputs["y"])
        return {"out" if encoder else "logit": logits[:, None], **by_side("feat", features), **recorded}


class Alignment(ModuleSubject):
    def __init__(self, config, entry):
        super().__init__(adaptor(config), entry)

    @torch.no_grad()
    def run(self, inputs):
        return by_side("out", self.module({r: inputs[f"feat{r}"] for r in self.module.resolutions}))


class Pipeline(ModuleSubject):
    """The four networks and the official losses."""

    def __init__(self, config, entry):
        self.config = config
        self.parts = torch.nn.ModuleDict(
            {
                "G": Generator(generator_config(config["G"])),
                "D": Discriminator(discriminator_config(config["D"])),
                "E1": Discriminator(discriminator_config(config["E1"])),
                "A1": adaptor(config["A1"]),
            }
        )
        super().__init__(self.parts, entry)

    @torch.no_grad()
    def run(self, inputs):
        added, compared = (
            {int(r): w for r, w in table.items()} for table in (self.config["G"]["E1_fea_w"], self.config["D_fea_w"])
        )
        adapted = self.parts["A1"](self.parts["E1"].features(inputs["x"]))
        image = self.parts["G"](inputs["z"], inputs["y"], weighted(adapted, added))
        fake, features = self.parts["D"](image, inputs["y"])
        real, _ = self.parts["D"](inputs["real"], inputs["ry"])
        term = weighted_sum(feature_distances(*feature_pairs(features, features, "official")), compared)
        d_real, d_fake = discriminator_hinge(real, fake)
        adversarial = generator_hinge(fake)
        recorded = {"loss_g_adv": adversarial, "loss_g_total": adversarial + term, "loss_g_feat_x1000": 1000 * term}
        recorded |= {"loss_d_real": d_real, "loss_d_fake": d_fake}
        scalars = {name: value.reshape(1) for name, value in recorded.items()}
        logits = {"d_fake": fake[:, None], "d_real": real[:, None]}
        return {"image": image, **logits, **scalars, **by_side("adapted", adapted)}


BIGGAN = {
    "biggan_generator": BigGenerator,
    "biggan_discriminator": BigDiscriminator,
    "biggan_encoder": BigDiscriminator,
    "biggan_alignment": Alignment,
    "biggan_pipeline": Pipeline,
}


def build(module, entry):
    return BIGGAN[module](entry["config"], entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        if module in BIGGAN:
            yield module, module, entry
