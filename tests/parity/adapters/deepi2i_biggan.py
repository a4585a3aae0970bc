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
FIXED |= {"D_param": "SN", "output_dim": 1, "num_G_SVs": 1, "num_D_SVs": 1}
# The official constructors' own values of what a fixture may leave out.
LEFT_OUT = {"resolution": 128, "G_attn": "64", "D_attn": "64", "n_classes": 1000, "SN_eps": 1e-12, "BN_eps": 1e-5}
LEFT_OUT |= {"G_ch": 64, "D_ch": 64, "dim_z": 128, "shared_dim": 0, "D_wide": True, "D_activation": "ReLU()"}


def completed(config):
    """Return the config with what it leaves out; refuse the values for which the official code has another network."""
    for key, value in FIXED.items():
        assert config.get(key, value) == value, f"{key}: {config[key]}"
    return {**LEFT_OUT, **config}


def attention(words):
    """Return the resolutions with self-attention: officially one text, as in `32_64`."""
    return tuple(int(word) for word in str(words).split("_"))


def generator_config(config):
    config = completed(config)
    return GeneratorConfig(
        resolution=config["resolution"],
        width=config["G_ch"],
        num_classes=config["n_classes"],
        z_dim=config["dim_z"],
        shared_dim=config["shared_dim"] or config["dim_z"],
        attention=attention(config["G_attn"]),
        bn_eps=config["BN_eps"],
        sn_eps=config["SN_eps"],
    )


def discriminator_config(config):
    config = completed(config)
    return DiscriminatorConfig(
        resolution=config["resolution"],
        width=config["D_ch"],
        num_classes=config["n_classes"],
        attention=attention(config["D_attn"]),
        wide=config["D_wide"],
        inplace="inplace=True" in config["D_activation"],
        sn_eps=config["SN_eps"],
    )


def adaptor(config):
    # The adaptor's widths follow from the discriminator's: the official code doubles them but for the last.
    d = discriminator_config(config)
    g = GeneratorConfig(resolution=d.resolution, width=d.width, num_classes=d.num_classes)
    return Adaptor(g, d, (32, 16, 8, 4), eps=d.sn_eps)


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
        self.encoder = entry["class"].startswith("Encoder")

    @torch.no_grad()
    def run(self, inputs):
        last = f"blocks.{len(self.module.blocks) - 1}.{len(self.module.blocks[-1]) - 1}"
        with self.recording([last], lambda name: f"feat{self.module.config.sides[-1]}_plain") as recorded:
            logits, features = self.module(inputs["x"], None if self.encoder else inputs["y"])
        return {"out" if self.encoder else "logit": logits[:, None], **by_side("feat", features), **recorded}


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
    "Generator": BigGenerator,
    "Discriminator": BigDiscriminator,
    "Encoder": BigDiscriminator,
    "Alignment": Alignment,
    "G_D": Pipeline,
}


def build(module, entry):
    name = entry["class"].split(" ")[0]
    return BIGGAN[name](entry["config"], entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        if not module.startswith("stylegan"):
            yield module, module, entry
