"""rosinality/stylegan2-pytorch: networks, R1, logistic losses and path length, through the `.pt` importer.

Gradients of gradients jump where a leaky ReLU's input changes its sign, and a fixture has inputs within one
rounding error of zero. They are therefore computed in float64, which the fixtures' tolerances allow for
(`noise_float64`); everything else is computed in float32.
"""

import math

import torch
import torch.nn.functional as F

from kdx2i.teacher.official import rosinality
from kdx2i.teacher.stylegan2 import Discriminator, Generator
from kdx2i.teacher.stylegan2.layers import fir_kernel
from kdx2i.teacher.stylegan2.training import path_lengths, path_penalty, r1_penalty

from ..subject import NUMBER, ModuleSubject


def refuse_other_kernels(config):
    assert list(config.get("blur_kernel", [1, 3, 3, 1])) == [1, 3, 3, 1], (
        "only the FIR kernel (1, 3, 3, 1) is supported"
    )


class Network(ModuleSubject):
    """A network under its official keys."""

    def __init__(self, module, entry):
        super().__init__(module, entry)
        self.size = module.config.img_resolution
        self.names = {
            key: name for name in module.state_dict() if (key := rosinality.official_key(name, self.size)) is not None
        }

    def state(self):
        return rosinality.official_state(self.module, self.size)

    def constants(self):
        kernels = {key: name for key, name in self.names.items() if name.endswith("resample_filter")}
        up = 4.0 if isinstance(self.module, Generator) else 1.0
        return {key: (fir_kernel() * up).numpy() for key in kernels}

    def load(self, state):
        shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
        is_generator = isinstance(self.module, Generator)
        infer = rosinality.infer_generator if is_generator else rosinality.infer_discriminator
        inferred = infer(shapes, "the fixture")
        assert tuple(inferred.widths) == tuple(self.module.config.widths), "widths read from the file"
        self.module.load_state_dict(rosinality.from_official(self.module, state, self.size, "the fixture"))

    def gradients(self, loss, keys):
        """Return d loss / d tensor under official keys and shapes."""
        names = [self.names[key] for key in keys]
        recorded = torch.autograd.grad(loss, [self.module.get_parameter(name) for name in names])
        shapes = self.state()
        return {key: gradient.reshape(shapes[key]) for key, gradient in zip(keys, recorded, strict=True)}

    def double(self, inputs):
        """Turn the network and the inputs to float64."""
        self.module.double()
        return {name: value.double() for name, value in inputs.items()}

    def wanted_gradients(self, prefix):
        return [key.removeprefix(prefix) for key in self.output_keys if key.startswith(prefix)]


class GeneratorSubject(Network):
    """Mapping, synthesis with explicit noise, style mixing, truncation and path length."""

    def noise(self, inputs):
        return [inputs[f"noise_{i}"] for i in range(len(self.module.noise_shapes()))]

    def ws(self, z):
        return self.module.styles(z)

    def render(self, prefix, ws, noise, outputs):
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

    def run(self, inputs):
        if "pl_noise" in inputs:
            return self.path_length(inputs)
        with torch.no_grad():
            if "z" in inputs:
                return {"w": self.module.mapping(inputs["z"])}
            return self.images(inputs)

    def images(self, inputs):
        noise, outputs = self.noise(inputs), {}
        ws1, ws2 = self.ws(inputs["z1"]), self.ws(inputs["z2"])
        cut = int(self.number(rf"inject_index={NUMBER}", "mix.image"))
        mixed = torch.cat([ws1[:, :cut], ws2[:, cut:]], dim=1)
        outputs["mix.latent"] = mixed
        for prefix, ws in (("mix", mixed), ("s1", ws1), ("s2", ws2), ("wplus", inputs["wplus"])):
            self.render(prefix, ws, noise, outputs)
        mean, psi = inputs["w_mean"][:, None], self.number(rf"truncation={NUMBER}", "s1_truncated.image")
        # Officially a truncation of 1 or more is none.
        self.render("s1_truncated", mean + min(psi, 1.0) * (ws1 - mean), noise, outputs)
        self.render("s1_noise_buffers", ws1, "const", outputs)
        return outputs

    def path_length(self, inputs):
        inputs = self.double(inputs)
        ws = self.ws(inputs["z1"])
        image, _ = self.module.synthesis(ws, self.noise(inputs))
        lengths = path_lengths(image, ws, inputs["pl_noise"])
        start = torch.tensor(self.number(rf"mean_path_length={NUMBER}", "path_mean"), dtype=torch.float64)
        penalty, mean = path_penalty(lengths, start)
        gradients = self.gradients(penalty, self.wanted_gradients("grad."))
        outputs = {"path_penalty": penalty, "path_mean": mean, "path_lengths": lengths, "image": image}
        return outputs | {f"grad.{key}": value for key, value in gradients.items()}

    @torch.no_grad()
    def probe(self, name, inputs):
        if name == "mapping":
            return self.module.mapping(inputs["z"])
        return self.module.synthesis(inputs["wplus"], self.noise(inputs))[0]


class DiscriminatorSubject(Network):
    """Logits, inner features, and the losses of the fixture that has a fake image."""

    def features(self, x, outputs):
        blocks = {f"b{r}": f"convs.{i + 1}" for i, r in enumerate(self.module.block_resolutions)}
        first = f"b{self.size}.fromrgb"
        names = blocks | {first: "convs.0", "b4.conv": "final_conv", "b4.fc": "final_linear.0"}
        seen = []
        handle = self.module.b4.conv.register_forward_pre_hook(lambda _module, args: seen.append(args[0][:, -1:]))
        with self.recording(names, names.__getitem__) as recorded:
            logit = self.module(x)
        handle.remove()
        outputs |= recorded | {"logit": logit, "stddev_channel": seen[0]}
        return logit

    def run(self, inputs):
        outputs = {}
        with torch.no_grad():
            logit = self.features(inputs["x"], outputs)
            if "x_fake" not in inputs:
                return outputs
            fake = self.module(inputs["x_fake"])
        outputs["d_loss"] = F.softplus(-logit).mean() + F.softplus(fake).mean()
        outputs["g_loss"] = F.softplus(-fake).mean()
        x = self.double(inputs)["x"].requires_grad_()
        outputs["r1"] = r1_penalty(self.module(x), x)
        keys = self.wanted_gradients("r1_grad.")
        return outputs | {f"r1_grad.{key}": g for key, g in self.gradients(outputs["r1"], keys).items()}

    @torch.no_grad()
    def probe(self, name, inputs):
        return self.module(inputs["x"])


def build(module, entry):
    config = entry["config"]
    refuse_other_kernels(config)
    # The official generator ends at the largest power of two; the discriminator knows no other sizes.
    size = 2 ** int(math.log2(config["size"]))
    channels = rosinality.widths(size, config.get("channel_multiplier", 2))
    if "Discriminator" in entry.get("class", "") or module.startswith("discriminator"):
        return DiscriminatorSubject(Discriminator(rosinality.discriminator_config(size, channels)), entry)
    options = rosinality.generator_config(
        size, config["style_dim"], config["n_mlp"], channels, config.get("lr_mlp", 0.01)
    )
    return GeneratorSubject(Generator(options), entry)


def paper_entries(paper):
    for label, entry in paper["configs"].items():
        yield label, label, entry


def extra_counts(paper):
    return iter(())
