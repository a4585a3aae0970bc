"""NVlabs/stylegan2-ada-pytorch: networks built from the official constructor arguments, as the `.pkl` importer does."""

import torch

from kdx2i.teacher.official import nvidia
from kdx2i.teacher.stylegan2 import Discriminator, Generator
from kdx2i.teacher.stylegan2.layers import fir_kernel

from ..subject import NUMBER, ModuleSubject


class Network(ModuleSubject):
    """A network whose keys are official; noise inputs are left out where the config asks for none."""

    silent = False

    def state(self):
        noise = ("noise_const", "noise_strength")
        return {k: v for k, v in super().state().items() if not (self.silent and k.endswith(noise))}

    def param_count(self):
        count = super().param_count()
        return count - sum(self.silent and n.endswith("noise_strength") for n, _ in self.module.named_parameters())

    def constants(self):
        return {name: fir_kernel().numpy() for name in self.state() if name.endswith("resample_filter")}

    def load(self, state):
        zeros = {k: torch.zeros_like(v) for k, v in self.module.state_dict().items()} if self.silent else {}
        self.module.load_state_dict({**zeros, **state})


class GeneratorSubject(Network):
    """Mapping with truncation, synthesis in both noise modes, style mixing."""

    def map(self, z, c):
        """Return the mapping's outputs: plain, truncated, and truncated in the first layers only."""
        ws = self.module.styles(z, c)
        outputs = {"w": ws[:, 0]}
        for key in {"ws_truncated", "ws_truncated_cutoff"} & set(self.output_keys):
            psi = self.number(rf"truncation_psi={NUMBER}", key)
            outputs[key] = self.module.styles(z, c, truncation_psi=psi)
        if "ws_truncated_cutoff" in outputs:
            cutoff = int(self.number(rf"truncation_cutoff={NUMBER}", "ws_truncated_cutoff"))
            outputs["ws_truncated_cutoff"] = torch.cat([outputs["ws_truncated_cutoff"][:, :cutoff], ws[:, cutoff:]], 1)
        return outputs

    def render(self, prefix, ws, outputs, noise="const"):
        names = [f"synthesis.b{r}" for r in self.module.synthesis.resolutions]
        with self.recording([*names, *(f"{name}.conv0" for name in names)]) as recorded:
            image, _ = self.module.synthesis(ws, noise)
        for name, value in recorded.items():
            resolution = name.split(".")[1][1:]
            if name.endswith("conv0"):
                outputs[f"{prefix}.up_{resolution}"] = value
            else:
                outputs[f"{prefix}.feat_{resolution}"], outputs[f"{prefix}.rgb_{resolution}"] = value
        outputs[f"{prefix}.image"] = image

    @torch.no_grad()
    def run(self, inputs):
        c = inputs.get("c")
        if "z" in inputs:
            return self.map(inputs["z"], c)
        outputs = {}
        ws1, ws2 = self.module.styles(inputs["z1"], c), self.module.styles(inputs["z2"], c)
        if self.wants("mix."):
            cut = int(self.number(rf"ws\[:, :{NUMBER}\] from z1", "mix.image"))
            self.render("mix", torch.cat([ws1[:, :cut], ws2[:, cut:]], dim=1), outputs)
        self.render("s1", ws1, outputs)
        self.render("s2", ws2, outputs)
        if "ws" in inputs:
            self.render("ws", inputs["ws"], outputs)
        if self.wants("s1_truncated."):
            psi = self.number(rf"truncation_psi={NUMBER}", "s1_truncated.image")
            self.render("s1_truncated", self.module.styles(inputs["z1"], c, truncation_psi=psi), outputs)
        self.render("s1_no_noise", ws1, outputs, noise="none")
        # Ours is the training-time formulation (activations scaled, one convolution) in every mode.
        outputs["s1_unfused.image"] = outputs["s1.image"]
        return outputs

    @torch.no_grad()
    def probe(self, name, inputs):
        if name == "mapping":
            return self.module.mapping(inputs["z"], inputs.get("c"))
        return self.module.synthesis(inputs["ws"], "const")[0]


class DiscriminatorSubject(Network):
    """Logits and inner features; the down-sampled images of the `skip` architecture."""

    @torch.no_grad()
    def run(self, inputs):
        seen, images = [], {}
        handle = self.module.b4.conv.register_forward_pre_hook(lambda _module, args: seen.append(args[0][:, -1:]))
        for r in self.module.block_resolutions:
            self.watch(r, images)
        names = [f"b{r}" for r in self.module.block_resolutions] + ["b4.conv", "b4.fc"]
        with self.recording(names) as recorded:
            logit = self.module(inputs["img"], inputs.get("c"))
        handle.remove()
        return recorded | images | {"logit": logit, "stddev_channel": seen[0]}

    def watch(self, resolution, images):
        """Keep the halved image that a block hands on."""
        block = getattr(self.module, f"b{resolution}")
        enter = block.enter

        def watched(x, image):
            entered, halved = enter(x, image)
            if halved is not None:
                images[f"img_{resolution // 2}"] = halved
            return entered, halved

        block.enter = watched

    @torch.no_grad()
    def probe(self, name, inputs):
        return self.module(inputs["img"], inputs.get("c"))


def build(module, entry):
    config = entry["config"]
    if entry.get("class", "").startswith("Discriminator") or module.startswith("discriminator"):
        return DiscriminatorSubject(Discriminator(nvidia.discriminator_config(config)), entry)
    subject = GeneratorSubject(Generator(nvidia.generator_config(config)), entry)
    subject.silent = not nvidia.uses_noise(config)
    return subject


def paper_entries(paper):
    for label, entry in paper["configs"].items():
        yield label, label, entry


def extra_counts(paper):
    return iter(())
