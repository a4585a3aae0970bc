"""DRIT++: the networks of MDMM (many domains) and of DRIT (two domains)."""

import torch

from kdx2i.methods.drit_pp import networks, two_domains

from ..subject import ModuleSubject

CLASSES = {
    "MD_E_content": networks.ContentEncoder,
    "MD_E_attr_concat": networks.AttributeEncoder,
    "MD_E_attr": networks.FeatureWiseAttributeEncoder,
    "MD_G_multi_concat": networks.Generator,
    "MD_G_multi": networks.FeatureWiseGenerator,
    "MD_G_uni": networks.UnimodalGenerator,
    "MD_Dis": networks.Discriminator,
    "MD_Dis_content": networks.ContentDiscriminator,
    "E_content": two_domains.PairContentEncoder,
    "E_attr_concat": two_domains.PairAttributeEncoder,
    "E_attr": two_domains.PairFeatureWiseAttributeEncoder,
    "G_concat": two_domains.PairGenerator,
    "G": two_domains.PairFeatureWiseGenerator,
    "MultiScaleDis": two_domains.MultiScaleDiscriminator,
    "Dis": two_domains.SingleDiscriminator,
    "Dis_content": two_domains.PairContentDiscriminator,
}
# The fixture's names of inner outputs, by the modules that make them.
PLACES = {
    "MD_E_content": {"conv.0": "conv0", "conv.1": "down1", "conv.2": "down2"},
    "MD_E_attr_concat": {"conv": "features"},
    "MD_G_multi_concat": {
        "dec_share": "share", "dec1": "dec1", "dec2": "dec2", "dec3": "dec3", "dec4.0": "image_pretanh",
    },
    "MD_G_multi": {"mlp": "mlp", "dec1": "dec1", "dec4": "dec4", "decA5.2": "image_pretanh"},
    "MD_G_uni": {"dec.5": "image_pretanh"},
    "MD_Dis": {"model": "features"},
    "G_concat": {"decA4.0": "image_a_pretanh", "decB4.0": "image_b_pretanh"},
    "G": {"decA5.2": "image_a_pretanh", "decB5.2": "image_b_pretanh"},
}  # fmt: skip
# The fixture's names of what the network returns, in order.
RETURNED = {
    "MD_E_content": ["content"],
    "MD_E_attr_concat": ["mu", "logvar"],
    "MD_E_attr": ["attr"],
    "MD_Dis": ["logits", "cls"],
    "E_content": ["content_a", "content_b"],
    "E_attr_concat": ["mu_a", "logvar_a", "mu_b", "logvar_b"],
    "E_attr": ["attr_a", "attr_b"],
}


class Network(ModuleSubject):
    """One network with its official class name."""

    def __init__(self, module, entry):
        super().__init__(module, entry)
        self.kind = entry["class"]

    @torch.no_grad()
    def run(self, inputs):
        places = PLACES.get(self.kind, {})
        with self.recording(places, places.__getitem__) as recorded:
            if self.kind in ("G", "G_concat"):
                code = inputs["content"], inputs["z"]
                images = {f"image_{domain.lower()}": self.module(*code, domain) for domain in two_domains.DOMAINS}
                return images | recorded
            names = [name for name in ("x", "xa", "xb", "content", "z", "c") if name in inputs]
            outputs = self.module(*(inputs[name] for name in names))
        if self.kind.startswith("MD_G"):
            return {"image": outputs} | recorded
        if self.kind == "MultiScaleDis":
            return {f"logits{scale}": logits for scale, logits in enumerate(outputs)} | recorded
        if isinstance(outputs, torch.Tensor):
            outputs = [outputs]
        keys = RETURNED.get(self.kind, ["logits"])
        return dict(zip(keys, (o for o in outputs if o is not None), strict=True)) | recorded


def build(module, entry):
    # The official test of `norm` compares two constants: no value of it has an effect.
    config = {name: value for name, value in entry["config"].items() if name != "norm"}
    return Network(CLASSES[entry["class"]](**config), entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
