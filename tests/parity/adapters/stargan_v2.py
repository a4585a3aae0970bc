"""StarGAN v2: the four networks (official keys as they are) and the objectives of its half-steps."""

import torch

from kdx2i.methods.families.stargan.losses import Guidance, Networks, Weights, discriminator_loss, generator_loss
from kdx2i.methods.stargan_v2.networks import Discriminator, Generator, MappingNetwork, StyleEncoder

from ..subject import ModuleSubject

CLASSES = {
    "Generator": Generator,
    "MappingNetwork": MappingNetwork,
    "StyleEncoder": StyleEncoder,
    "Discriminator": Discriminator,
}
PAPER_NAMES = {
    "generator": "Generator",
    "mapping_network": "MappingNetwork",
    "style_encoder": "StyleEncoder",
    "discriminator": "Discriminator",
}


class Network(ModuleSubject):
    """One network; inner outputs are those of the children with the output's name."""

    def constants(self):
        return {name: t.numpy() for name, t in self.module.state_dict().items() if name == "hpf.filter"}

    def call(self, inputs):
        if isinstance(self.module, Generator):
            return self.module(inputs["x"], inputs["s"])
        return self.module(inputs["z"] if isinstance(self.module, MappingNetwork) else inputs["x"], inputs["y"])

    def probe(self, name, inputs):
        with torch.no_grad():
            return self.call(inputs)

    @torch.no_grad()
    def run(self, inputs):
        main = {Generator: "image", Discriminator: "logit"}.get(type(self.module), "style")
        if "mask0" not in inputs:
            with self.recording(self.output_keys) as recorded:
                recorded[main] = self.call(inputs)
            return recorded
        with self.recording(self.output_keys) as recorded:
            recorded[main] = self.module(inputs["x"], inputs["s"], masks=(inputs["mask0"], inputs["mask1"]))
        return {**recorded, "image_no_masks": self.call(inputs)}


class Losses:
    """The objectives on the closed-form stand-ins that `stand_ins` of the fixture describes."""

    def __init__(self, config):
        self.weights = Weights(
            reg=config["lambda_reg"], sty=config["lambda_sty"], ds=config["lambda_ds"], cyc=config["lambda_cyc"]
        )

    def state(self):
        return {}

    def param_count(self):
        return 0

    def load(self, state):
        assert not state

    def run(self, inputs):
        p = {name: inputs[name].clone().requires_grad_() for name in "AMPUV"}

        def decode(x, s):
            return x * (1 + s @ p["U"])[:, :, None, None] + (s @ p["V"])[:, :, None, None]

        networks = Networks(
            encode=lambda x: x,
            decode=decode,
            mapping=lambda z, y: torch.einsum("bi,bij->bj", z, p["M"][y]),
            style=lambda x, y: torch.einsum("bi,bij->bj", x.mean((2, 3)), p["P"][y]),
            discriminator=lambda x, y: (x * p["A"][y]).sum((1, 2, 3)) + 0.01 * x.square().sum((1, 2, 3)),
        )
        y_trg = inputs["y_trg"]
        guidances = {
            "latent": Guidance(y_trg, z=inputs["z_trg"], z2=inputs["z_trg2"]),
            "ref": Guidance(y_trg, x_ref=inputs["x_ref"], x_ref2=inputs["x_ref2"]),
        }
        outputs = {}
        for side, objective in (("d", discriminator_loss), ("g", generator_loss)):
            for mode, guidance in guidances.items():
                terms = objective(networks, inputs["x_real"], inputs["y_org"], guidance, self.weights)
                gradients = torch.autograd.grad(terms["total"], list(p.values()), allow_unused=True)
                recorded = dict(terms) | {f"grad_{n}": g for n, g in zip(p, gradients, strict=True) if g is not None}
                outputs |= {f"{side}_{mode}.{name}": value for name, value in recorded.items()}
        return outputs


def build(module, entry):
    if "compute_d_loss" in entry.get("class", ""):
        return Losses(entry["config"])
    kind = entry.get("class") or next(c for name, c in PAPER_NAMES.items() if module.startswith(name))
    # Officially the high-pass filter is on unless a generator is made without.
    unsaid = {"w_hpf": 1} if kind == "Generator" else {}
    return Network(CLASSES[kind](**unsaid | entry["config"]), entry)


def paper_entries(paper):
    for size, networks in paper["configs"].items():
        for module, entry in networks.items():
            yield f"{size}/{module}", module, entry


def extra_counts(paper):
    """Parameter counts by the number of domains; keys are a network's name and, unless it has none, its size."""
    for domains, counts in paper.get("param_count_by_num_domains", {}).items():
        for key, expected in counts.items():
            module, _, size = key.rpartition("_") if key[-1].isdigit() else (key, "", "256")
            config = paper["configs"][f"{size}x{size}"][module]["config"] | {"num_domains": int(domains)}
            yield f"{key} for {domains} domains", build(module, {"config": config, "outputs": []}), expected
