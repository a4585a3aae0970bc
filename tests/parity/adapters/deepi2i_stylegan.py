"""The networks of DeepI2I's two-class variant (StyleGAN-1).

A config holds the constructor's arguments and those of the call, whose official defaults are `CALL`.
"""

import torch

from kdx2i.methods.families.stylegan.networks import Adaptor
from kdx2i.teacher import stylegan1

from ..subject import ModuleSubject

WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
ADAPTED = (64, 32, 16, 8, 4)
CALL = {"step": 0, "alpha": -1, "mixing_range": None, "RESOLUTION": ADAPTED, "mean_style": None, "style_weight": 0}


def stylegan1_config(config, names):
    """Return the sizes from those keys of a config; the paper's entries leave out the step, which has no weights."""
    sizes = {key: config[key] for key in names if key in config}
    return stylegan1.StyleGAN1Config(4 * 2 ** config.get("step", 6), **sizes)


def fade(config):
    """Return the share of the last block: officially any alpha outside [0, 1) is no fading."""
    return config["alpha"] if 0 <= config["alpha"] < 1 else 1.0


class Generator(ModuleSubject):
    """Mapping and synthesis network, with encoder features added where the config names resolutions."""

    def __init__(self, config, entry):
        super().__init__(stylegan1.Generator(stylegan1_config(config, ("code_dim", "n_mlp", "fused"))), entry)
        self.adds = config.get("E1_fea_w") is not None
        self.config = CALL | config

    def styles(self, inputs):
        """One style a block: that of z, or of z2 in the blocks of `mixing_range`."""
        w = self.module.mapping(inputs["z"])
        ws = w[:, None].repeat(1, self.module.num_ws, 1)
        first, last = self.config["mixing_range"] or (-1, -1)
        mixed = [block for block in range(self.module.num_ws) if first <= block <= last]
        if mixed:
            ws[:, mixed] = self.module.mapping(inputs["z2"])[:, None]
        if "mean_style" in inputs:
            ws = inputs["mean_style"] + self.config["style_weight"] * (ws - inputs["mean_style"])
        return w, ws

    @torch.no_grad()
    def run(self, inputs):
        w, ws = self.styles(inputs)
        noise, alpha = [inputs[f"noise{i}"] for i in range(self.module.num_ws)], fade(self.config)
        plain, features = self.module.synthesis(ws, noise, alpha=alpha)
        recorded = {"style": w, "image": plain, "image_without_encoder": plain}
        if self.adds:
            weights = {int(r): weight for r, weight in self.config["E1_fea_w"].items()}
            # Only what the image passes through is added to: features of other resolutions stay unused.
            passed = [r for r in self.config["RESOLUTION"] if r in features]
            added = {r: weights[r] * inputs[f"feat{r}"] for r in passed}
            recorded["image"], features = self.module.synthesis(ws, noise, added, alpha=alpha)
        return {**recorded, **{f"g{r}": feature for r, feature in features.items()}}


class Discriminator(ModuleSubject):
    """Discriminator, whose layout the encoder has too; the feature of the image's own size is from-RGB's output."""

    def __init__(self, config, entry):
        config = {"from_rgb_activate": False, **config}
        super().__init__(stylegan1.Discriminator(stylegan1_config(config, ("fused", "from_rgb_activate"))), entry)
        self.config = CALL | config

    @torch.no_grad()
    def run(self, inputs):
        last = f"progression.{len(self.module.progression) - 1}"
        with self.recording([last], lambda name: "feat1") as recorded:
            logit, features = self.module.examine(inputs["x"], alpha=fade(self.config))
        return {"logit": logit, **recorded, **{f"feat{r}": feature for r, feature in features.items()}}


class Alignment(ModuleSubject):
    """The adaptor: the blocks are numbered, and `RESOLUTION` says which feature each reads; others stay as they are."""

    def __init__(self, config, entry):
        super().__init__(Adaptor({r: WIDTHS[r] for r in ADAPTED}), entry)
        self.resolutions = config.get("RESOLUTION", ADAPTED)

    @torch.no_grad()
    def run(self, inputs):
        blocks = zip(self.resolutions, self.module.progression, strict=False)
        unread = {name.replace("feat", "out"): feature for name, feature in inputs.items()}
        return unread | {f"out{r}": block(inputs[f"feat{r}"]) for r, block in blocks}


STYLEGAN = {
    "StyledGenerator": Generator,
    "Discriminator": Discriminator,
    "Alignment": Alignment,
}


def build(module, entry):
    name = entry["class"].split(" ")[0]
    return STYLEGAN[name](entry["config"], entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        if module.startswith("stylegan"):
            yield module, module, entry
