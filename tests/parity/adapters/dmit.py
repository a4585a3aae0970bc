"""DMIT: content and style encoder, both decoders, content and image discriminator."""

import re

import torch

from kdx2i.methods.dmit import networks

from ..subject import ModuleSubject


class Network(ModuleSubject):
    """One network; inner outputs are those of the layers that the fixture's keys number."""

    def places(self):
        """The modules whose outputs the fixture has, by the fixture's names."""
        found = {"head": "head"}
        blocks = getattr(self.module, "n_resblocks", 0)
        for key in self.wanted:
            if match := re.fullmatch(r"(stage|res|up)(\d+)", key):
                index = int(match[2]) + (blocks if match[1] == "up" else 0)
                place = "encode" if match[1] == "stage" else "decode"
                found[f"{place}.{index}"] = key
        if isinstance(self.module, networks.Decoder):
            found[f"decode.{len(self.module.decode) - 1}.conv"] = "image_pretanh"
        if isinstance(self.module, networks.StyleEncoder):
            found["encode"] = "features"
        return found

    @torch.no_grad()
    def run(self, inputs):
        places = self.places()
        with self.recording(places, places.__getitem__) as found:
            if isinstance(self.module, networks.Decoder):
                code = torch.cat([inputs["attribute"], inputs["style"]], 1)
                return {**found, "image": self.module(inputs["content"], code)} | found
            if isinstance(self.module, networks.ContentEncoder):
                return {"content": self.module(inputs["x"])} | found
            if isinstance(self.module, networks.StyleEncoder):
                mean, log_variance = self.module(inputs["x"])
                return {"mu": mean, "logvar": log_variance} | found
            logits = self.module(inputs["x"], inputs["attribute"])
        if isinstance(self.module, networks.MultiStyleDiscriminator):
            return {"logits_full": logits[0], "logits_half": logits[1]}
        return {"logits": logits} | found


def build(module, entry):
    return Network(getattr(networks, entry["class"])(**entry["config"]), entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
