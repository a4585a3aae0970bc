"""SDIT: both generators in evaluation and training mode, the discriminator and the unused style encoder."""

import copy

import torch

from kdx2i.methods.sdit.networks import AttentionGenerator, Discriminator, PlainGenerator, StyleEncoder

from ..subject import ModuleSubject

CLASSES = {
    "Generator_w_att": AttentionGenerator,
    "Generator_wo_att": PlainGenerator,
    "Discriminator": Discriminator,
    "StyleEncoder": StyleEncoder,
}


class Generator(ModuleSubject):
    """Outputs have the suffix of the mode that they were computed in."""

    def places(self):
        """The modules whose outputs the fixture has, by the fixture's names."""
        if isinstance(self.module, AttentionGenerator):
            names = {"enc.main.5": "enc_down1", "enc.main.8": "enc_down2", "enc": "enc", "ada": "ada", "att": "att"}
            return names | {"ada.mlp": "adain_params", "main.2": "up1", "main.5": "up2"}
        layers = [type(layer).__name__ for layer in self.module.main]
        middle = layers.index("AdaptiveResBlocks")
        # Without residual blocks the second halving is the encoder's last layer.
        names = {middle - 1: "enc", 5: "enc_down1", 8: "enc_down2", middle + 3: "up1", middle + 6: "up2"}
        inner = {"mlp": "adain_params", "ResBlocks_AdaIN_tv": "ada"}
        return {f"main.{index}": name for index, name in names.items()} | inner

    @torch.no_grad()
    def run(self, inputs):
        outputs = {}
        for mode in ("eval", "train"):
            subject = copy.deepcopy(self)
            subject.module.train(mode == "train")
            places = self.places()
            with subject.recording(places, places.__getitem__) as recorded:
                image, attention = subject.module(inputs["x"], inputs["c"], inputs["style"])
            recorded = dict(recorded) | {"image": image}
            if attention is not None:
                recorded["attention_upsampled"] = attention
            outputs |= {f"{name}_{mode}": value for name, value in recorded.items()}
        return outputs | {"adain_params": outputs["adain_params_eval"]}


class Plain(ModuleSubject):
    """The discriminator with its features, and the style encoder."""

    @torch.no_grad()
    def run(self, inputs):
        if isinstance(self.module, StyleEncoder):
            return {"style": self.module(inputs["x"])}
        places = {f"main.{2 * step + 1}": f"feat{step}" for step in range(len(self.module.main) // 2)}
        with self.recording(places, places.__getitem__) as recorded:
            source, domains, style = self.module(inputs["x"])
        return {**recorded, "out_src": source, "out_cls": domains, "out_noise": style}


def build(module, entry):
    kind = Generator if "Generator" in entry["class"] else Plain
    return kind(CLASSES[entry["class"]](**entry["config"]), entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
