"""The networks of DeepI2I's two-class variant (StyleGAN-1)."""

import torch

from kdx2i.methods.families.stylegan.networks import Adaptor
from kdx2i.teacher import stylegan1

from ..subject import ModuleSubject

WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}


class Generator(ModuleSubject):
    """Mapping and synthesis network, with encoder features added."""

    def __init__(self, config, entry):
        step = config.get("step", 6)
        sizes = {key: config[key] for key in ("code_dim", "n_mlp", "fused") if key in config}
        super().__init__(stylegan1.Generator(stylegan1.StyleGAN1Config(4 * 2**step, **sizes)), entry)
        self.config = config

    def styles(self, inputs):
        """One style a block: that of z, or of z2 in the blocks of `mixing_range`."""
        w = self.module.mapping(inputs["z"])
        ws = w[:, None].repeat(1, self.module.num_ws, 1)
        if self.config["mixing_range"] is not None:
            first, last = self.config["mixing_range"]
            ws[:, first : last + 1] = self.module.mapping(inputs["z2"])[:, None]
        return w, ws

    @torch.no_grad()
    def run(self, inputs):
        w, ws = self.styles(inputs)
        noise = [inputs[f"noise{i}"] for i in range(self.module.num_ws)]
        weights = self.config["E1_fea_w"]
        added = {r: weights[str(r)] * inputs[f"feat{r}"] for r in self.config["RESOLUTION"]}
        image, features = self.module.synthesis(ws, noise, added, alpha=self.config["alpha"])
        plain, _ = self.module.synthesis(ws, noise, alpha=self.config["alpha"])
        recorded = {f"g{r}": feature for r, feature in features.items()}
        return {"style": w, "image": image, "image_without_encoder": plain, **recorded}


class Discriminator(ModuleSubject):
    """Discriminator, whose layout the encoder has too."""

    def __init__(self, config, entry):
        step = config.get("step", 6)
        sizes = {key: config[key] for key in ("fused", "from_rgb_activate") if key in config}
        super().__init__(stylegan1.Discriminator(stylegan1.StyleGAN1Config(4 * 2**step, **sizes)), entry)
        self.config = config

    @torch.no_grad()
    def run(self, inputs):
        logit, features = self.module.examine(inputs["x"], alpha=self.config["alpha"])
        return {"logit": logit, **{f"feat{r}": features[r] for r in self.config["RESOLUTION"]}}


class Alignment(ModuleSubject):
    """The adaptor."""

    def __init__(self, config, entry):
        super().__init__(Adaptor({r: WIDTHS[r] for r in (64, 32, 16, 8, 4)}), entry)

    @torch.no_grad()
    def run(self, inputs):
        recorded = self.module({r: inputs[f"feat{r}"] for r in (64, 32, 16, 8, 4)})
        return {f"out{r}": feature for r, feature in recorded.items()}


STYLEGAN = {
    "stylegan_generator": Generator,
    "stylegan_discriminator": Discriminator,
    "stylegan_alignment": Alignment,
}


def build(module, entry):
    return STYLEGAN[module](entry["config"], entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        if module in STYLEGAN:
            yield module, module, entry
