"""OASIS: the generator with and without noise, the discriminator and its blocks, and the objectives."""

import copy

import torch

from kdx2i.methods.families.label_maps.maps import one_hot_maps
from kdx2i.methods.oasis import losses, networks
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

    def recorded(self, parts, arguments):
        """Return the inner outputs of a call by the fixture's names, and what it returns."""
        names = {f"{part}.{n}": f"{part}_{n}" for part in parts for n in range(16)} | {
            "fc": "fc",
            "conv_img": "conv_img",
        }
        with self.recording(names, names.__getitem__) as recorded:
            result = self.module(*arguments)
        return recorded, result


class Generator(Network):
    def outputs(self, inputs):
        maps = one_hot_maps(inputs["label"], self.entry["config"]["semantic_nc"])
        arguments = [maps, *(inputs[name] for name in inputs if name.endswith(".z"))]
        training = copy.deepcopy(self.module).train()
        recorded, image = self.recorded(["body"], arguments)
        return {**recorded, "image": image, "image_train": training(*arguments)}


class Discriminator(Network):
    def outputs(self, inputs):
        training = copy.deepcopy(self.module).train()
        recorded, logits = self.recorded(["body_down", "body_up"], list(inputs.values()))
        return {**recorded, "logits": logits, "logits_train": training(*inputs.values())}


class Block(Network):
    def outputs(self, inputs):
        (x,) = inputs.values()
        return {"out": self.module(x), "shortcut": self.module.shortcut(x)}


class Losses:
    """Functions of maps, coins and logits, which have no state."""

    def __init__(self, entry):
        self.entry = entry

    def state(self):
        return {}

    def param_count(self):
        return 0

    def load(self, state):
        assert not state

    def run(self, inputs):
        maps = one_hot_maps(inputs["label"], self.entry["config"]["semantic_nc"])
        of = {name.rsplit(".", 1)[-1]: value for name, value in inputs.items()}
        plain, unknown = losses.Balance(), losses.Balance(dont_care=True)
        mask = losses.labelmix_mask(maps, of["coins"])
        outputs = {
            "real": losses.real_loss(of["logits"], maps, plain),
            "weight_map": losses.class_weights(maps, plain),
            "real_dontcare0": losses.real_loss(of["logits"], maps, unknown),
            "weight_map_dontcare0": losses.class_weights(maps, unknown),
            "real_unbalanced": losses.real_loss(of["logits"], maps, losses.Balance(balanced=False)),
            "fake": losses.fake_loss(of["logits"]),
            "target_real": losses.real_target(maps),
            "labelmix_mask": mask,
            "labelmix_image": losses.mixed_image(mask, of["real"], of["fake"]),
            "labelmix_loss": losses.labelmix_loss(mask, of["dmixed"], of["dfake"], of["dreal"]),
        }
        return {f"out/{name}": value for name, value in outputs.items()}


def build(module, entry):
    config = entry["config"]
    kind = entry.get("official_class", entry.get("class"))
    if kind == "OASIS_Generator":
        return Generator(networks.Generator(**config), entry)
    if kind == "OASIS_Discriminator":
        return Discriminator(networks.Discriminator(**config), entry)
    if kind == "residual_block_D":
        sizes = {key: value for key, value in config.items() if key != "no_spectral_norm"}
        use = not config.get("no_spectral_norm", False)
        return Block(networks.DiscriminatorBlock(**sizes, spectral_norm=use), entry)
    return Losses(entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
