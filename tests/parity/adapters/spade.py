"""SPADE: both generators, encoder, discriminator, the residual block, the objectives and the loss of VGG19."""

import copy

import torch

from kdx2i.methods.families.label_maps import blocks, losses, perceptual
from kdx2i.methods.families.label_maps.discriminator import MultiscaleDiscriminator
from kdx2i.methods.families.label_maps.maps import one_hot_maps
from kdx2i.methods.spade import networks
from kdx2i.teacher.official.state_dicts import load_official_state

from ..subject import ModuleSubject


class Network(ModuleSubject):
    """A network that takes official state dicts; `run` names its outputs with the fixture's prefix."""

    def __init__(self, module, entry):
        super().__init__(module, entry)
        self.entry = entry

    def load(self, state):
        load_official_state(self.module, state, "the fixture")

    @torch.no_grad()
    def run(self, inputs):
        return {f"out/{name}": value for name, value in self.outputs(inputs).items()}

    def one_hot(self, inputs):
        return one_hot_maps(inputs["label"], self.entry["config"]["semantic_nc"])


class Generator(Network):
    def outputs(self, inputs):
        arguments = [self.one_hot(inputs), *(inputs[name] for name in inputs if name.endswith(".z"))]
        training = copy.deepcopy(self.module).train()
        places = {key.removeprefix("out/") for key in self.output_keys}
        with self.recording(places) as recorded:
            image = self.module(*arguments)
        return {**recorded, "image": image, "image_train": training(*arguments)}


class Discriminator(Network):
    def outputs(self, inputs):
        (x,) = inputs.values()
        training = copy.deepcopy(self.module).train()
        judged = enumerate(self.module(x))
        recorded = {f"d{scale}_l{number}": layer for scale, group in judged for number, layer in enumerate(group)}
        return recorded | {f"train_d{scale}_pred": group[-1] for scale, group in enumerate(training(x))}


class Encoder(Network):
    def outputs(self, inputs):
        with self.recording({f"layer{number}" for number in range(1, 7)}) as recorded:
            mean, log_variance = self.module(*inputs.values())
        return {**recorded, "mu": mean, "logvar": log_variance}


class Block(Network):
    def outputs(self, inputs):
        maps = self.one_hot(inputs)
        (x,) = (value for name, value in inputs.items() if name.endswith(".x"))
        with self.recording({"norm_0"}) as recorded:
            out = self.module(x, maps)
        return {**recorded, "out": out, "shortcut": self.module.shortcut(x, maps)}


class Vgg(Network):
    def outputs(self, inputs):
        x, y = inputs.values()
        loss = perceptual.PerceptualLoss(self.module, self.entry["config"]["weights"])
        layers = self.module(x)
        return {"loss": loss(x, y), **{f"relu{n}_1": layer for n, layer in enumerate(layers, 1)}}


class Losses:
    """Functions of judgements; the fixture's inputs are named `fake<scale>.<layer>`."""

    def __init__(self, entry):
        self.entry = entry

    def state(self):
        return {}

    def param_count(self):
        return 0

    def load(self, state):
        assert not state

    def run(self, inputs):
        by_name = {name.split(".l.")[1]: value for name, value in inputs.items()}
        config = self.entry["config"]

        def judged(side):
            places = sorted(tuple(map(int, n.removeprefix(side).split("."))) for n in by_name if n.startswith(side))
            scales = sorted({scale for scale, _ in places})
            return [[by_name[f"{side}{s}.{layer}"] for s, layer in places if s == scale] for scale in scales]

        def gan(side, *, real, for_discriminator):
            mode = config["gan_mode"]
            return losses.adversarial_loss(judged(side), real=real, for_discriminator=for_discriminator, mode=mode)

        return {
            "out/g_hinge": gan("fake", real=True, for_discriminator=False),
            "out/d_fake_hinge": gan("fake", real=False, for_discriminator=True),
            "out/d_real_hinge": gan("real", real=True, for_discriminator=True),
            "out/feature_matching": config["lambda_feat"] * losses.feature_matching(judged("fake"), judged("real")),
            "out/kld": losses.divergence(by_name["mu"], by_name["logvar"]),
        }


def discriminator(config):
    inputs = config["label_nc"] + config["output_nc"] + config["contain_dontcare_label"] + (not config["no_instance"])
    sizes = (config["ndf"], config["num_D"], config["n_layers_D"], config["norm_D"])
    return MultiscaleDiscriminator(inputs, *sizes, features=not config["no_ganFeat_loss"])


def block(config):
    kind = blocks.SpatialNormKind.parse(config["norm_G"])
    return blocks.SpatialResBlock(config["fin"], config["fout"], config["semantic_nc"], kind)


def build(module, entry):
    config = entry["config"]
    kind = entry.get("official_class", entry.get("class"))
    if kind == "SPADEGenerator":
        return Generator(networks.Generator(**config), entry)
    if kind == "ConvEncoder":
        return Encoder(networks.Encoder(**config), entry)
    if kind == "MultiscaleDiscriminator":
        return Discriminator(discriminator(config), entry)
    if kind == "SPADEResnetBlock":
        return Block(block(config), entry)
    if kind.startswith("VGGLoss"):
        return Vgg(perceptual.Vgg19([tuple(part) for part in config["slices"]]), entry)
    return Losses(entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
