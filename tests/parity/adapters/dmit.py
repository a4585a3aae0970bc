"""DMIT: content and style encoder, both decoders, content and image discriminator."""

import re

import torch

from kdx2i.methods.dmit import networks
from kdx2i.methods.dmit.blocks import ConvBlock

from ..subject import ModuleSubject


class Network(ModuleSubject):
    """One network; inner outputs are those of the layers that the fixture's keys number."""

    def places(self):
        """The modules whose outputs the fixture has, by the fixture's names."""
        recorded = {"head": "head"}
        decoder = isinstance(self.module, networks.Decoder)
        inner = "decode" if decoder else "encode"
        # Where the first one of each kind stands: residual blocks are last in an encoder, first in a decoder.
        halvings = sum(isinstance(layer, ConvBlock) for layer in getattr(self.module, inner, ()))
        first = {"stage": 0, "res": 0 if decoder else halvings, "up": getattr(self.module, "n_resblocks", 0)}
        for key in self.output_keys:
            if match := re.fullmatch(r"(stage|res|up)(\d+)", key):
                recorded[f"{inner}.{int(match[2]) + first[match[1]]}"] = key
        if isinstance(self.module, networks.Decoder):
            recorded[f"decode.{len(self.module.decode) - 1}.conv"] = "image_pretanh"
        if isinstance(self.module, networks.StyleEncoder):
            recorded["encode"] = "features"
        return recorded

    @torch.no_grad()
    def run(self, inputs):
        places = self.places()
        with self.recording(places, places.__getitem__) as recorded:
            if isinstance(self.module, networks.Decoder):
                code = torch.cat([inputs["attribute"], inputs["style"]], 1)
                return {**recorded, "image": self.module(inputs["content"], code)} | recorded
            if isinstance(self.module, networks.ContentEncoder):
                return {"content": self.module(inputs["x"])} | recorded
            if isinstance(self.module, networks.StyleEncoder):
                mean, log_variance = self.module(inputs["x"])
                return {"mu": mean, "logvar": log_variance} | recorded
            logits = self.module(inputs["x"], inputs["attribute"])
        if isinstance(self.module, networks.MultiStyleDiscriminator):
            return {"logits_full": logits[0], "logits_half": logits[1]} | recorded
        return {"logits": logits} | recorded


def build(module, entry):
    return Network(getattr(networks, entry["class"])(**entry["config"]), entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
