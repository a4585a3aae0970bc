"""DMIT: content and style encoder, both decoders, content and image discriminator."""

import re

import torch

from kdx2i.methods.dmit import networks

from ..subject import ModuleSubject


class Network(ModuleSubject):
    """One network; inner outputs are those of the layers that the fixture's keys number."""

    def places(self):
        """The modules whose outputs the fixture has, by the fixture's names."""
        recorded = {"head": "head"}
        blocks = getattr(self.module, "n_resblocks", 0)
        for key in self.output_keys:
            if match := re.fullmatch(r"(stage|res|up)(\d+)", key):
                index = int(match[2]) + (blocks if match[1] == "up" else 0)
                place = "encode" if match[1] == "stage" else "decode"
                recorded[f"{place}.{index}"] = key
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
            return {"logits_full": logits[0], "logits_half": logits[1]}
        return {"logits": logits} | recorded


def build(module, entry):
    return Network(getattr(networks, entry["class"])(**entry["config"]), entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
