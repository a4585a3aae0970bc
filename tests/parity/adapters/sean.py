"""SEAN: generator in evaluation and training mode and on a map of ones, style encoder, normalisation, discriminator."""

import copy

import torch

from kdx2i.methods.sean.blocks import Layout, RegionAdaptiveNorm
from kdx2i.methods.sean.discriminator import Discriminator
from kdx2i.methods.sean.networks import Generator, StyleEncoder, one_hot

from ..subject import ModuleSubject


def by_last_part(inputs):
    """Return inputs by what follows the last dot of their names, such as `sean.g.rgb`."""
    return {name.rsplit(".", 1)[-1]: value for name, value in inputs.items()}


class WholeGenerator(ModuleSubject):
    """Every output of the evaluation mode, the image of a copy in training mode, and that of a map of ones."""

    @torch.no_grad()
    def run(self, inputs):
        net, labels = self.module, self.module.fc.in_channels
        inputs = by_last_part(inputs)
        segmap = one_hot(inputs["label"], labels)
        noise = {name: value for name, value in inputs.items() if "_ACE_" in name}
        names = {"fc", "conv_img", *(name for name, _, _ in net.blocks())}
        training = copy.deepcopy(net).train()
        ones = torch.ones_like(segmap)
        with self.recording(names) as recorded:
            codes = net.Zencoder(inputs["rgb"], segmap)
            image = net(segmap, codes, noise=noise)
        outputs = recorded | {"style_codes": codes, "image": image}
        outputs["image_ones_map"] = net(ones, net.Zencoder(inputs["rgb"], ones), noise=noise)
        outputs["image_train"] = training(segmap, training.Zencoder(inputs["rgb"], segmap), noise=noise)
        return {f"out/{name}": value for name, value in outputs.items()}


class Encoder(ModuleSubject):
    """The codes, and the map that they are means of. The number of labels is that of the fixture's codes."""

    def __init__(self, module, entry):
        super().__init__(module, entry)
        shapes = {item["key"]: item["full_shape"] for item in entry.get("outputs", [])}
        self.labels = shapes.get("out/style_codes", [0, 19])[1]

    @torch.no_grad()
    def run(self, inputs):
        inputs = by_last_part(inputs)
        with self.recording({"model"}) as recorded:
            codes = self.module(inputs["rgb"], one_hot(inputs["label"], self.labels))
        return {"out/map": recorded["model"], "out/style_codes": codes}


class Normalisation(ModuleSubject):
    """The layer, and scale and shift of its map branch."""

    @torch.no_grad()
    def run(self, inputs):
        labels = self.module.Spade.mlp_shared[0].in_channels
        inputs = by_last_part(inputs)
        layout = Layout(one_hot(inputs["label"], labels))
        with self.recording({"Spade"}) as recorded:
            out = self.module(inputs["x"], layout, inputs.get("codes"), inputs["layer"])
        gamma, beta = recorded["Spade"]
        return {"out/out": out, "out/gamma_spade": gamma, "out/beta_spade": beta}


class MultiScale(ModuleSubject):
    """All layers in evaluation mode, and the predictions of a copy in training mode."""

    def __init__(self, module, entry):
        super().__init__(module, entry)
        self.only_predictions = entry["config"].get("no_ganFeat_loss", False)

    @torch.no_grad()
    def run(self, inputs):
        training = copy.deepcopy(self.module).train()
        outputs = {}
        x = by_last_part(inputs)["input"]
        for scale, layers in enumerate(self.module(x)):
            # The official switch leaves the prediction alone.
            kept = layers[-1:] if self.only_predictions else layers
            outputs |= {f"out/d{scale}_l{number}": value for number, value in enumerate(kept)}
        for scale, layers in enumerate(training(x)):
            outputs[f"out/train_d{scale}_pred"] = layers[-1]
        return outputs


def normalisation(config):
    sizes = {"style_length": config["style_length"]} if "style_length" in config else {}
    kind = config.get("norm_G", "spadesyncbatch3x3").replace("spectral", "")
    return RegionAdaptiveNorm(config["norm_nc"], config["semantic_nc"], kind, styled=config["use_rgb"], **sizes)


def discriminator(config):
    labels = config["label_nc"] + config["contain_dontcare_label"] + (not config["no_instance"])
    # The discriminator judges three channels of image: others come on top of the map's.
    labels += config["output_nc"] - 3
    return Discriminator(labels, config["ndf"], config["num_D"], config["n_layers_D"], config["norm_D"])


def generator(config):
    # The status says where codes come from and what the official code writes beside the image.
    return Generator(**{key: value for key, value in config.items() if key != "status"})


def build(module, entry):
    kind, config = entry.get("class", entry.get("official_class")), entry["config"]
    if kind == "SPADEGenerator":
        return WholeGenerator(generator(config), entry)
    if kind == "ACE":
        return Normalisation(normalisation(config), entry)
    if kind == "MultiscaleDiscriminator":
        return MultiScale(discriminator(config), entry)
    return Encoder(StyleEncoder(**config), entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry


def extra_counts(paper):
    for module, entry in paper.get("modules", {}).items():
        if "param_count_zencoder" in entry:
            encoder = generator(entry["config"]).Zencoder
            yield f"{module}, style encoder", ModuleSubject(encoder, {}), entry["param_count_zencoder"]
