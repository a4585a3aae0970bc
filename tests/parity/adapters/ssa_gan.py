"""SSA-GAN: generator in both modes, its norm and block, the discriminator, the objectives, the crop of bird images."""

import copy

import numpy as np
import torch
from PIL import Image

from kdx2i.data.bird_crops import crop_box, enlarged_crop
from kdx2i.methods.ssa_gan.blocks import GeneratorBlock, SemanticSpatialNorm
from kdx2i.methods.ssa_gan.losses import discriminator_loss, generator_loss, matching_penalty, squared_gradients
from kdx2i.methods.ssa_gan.networks import Discriminator, Generator
from kdx2i.teacher.official.state_dicts import load_official_state
from kdx2i.training.precision import to_images

from ..subject import ModuleSubject

PREFIX = "module."
CONDITION = 256  # The official norms have this width for the condition and inside their MLPs.


class Network(ModuleSubject):
    """A network that is loaded as the official files are: with `module.` before each key."""

    def load(self, state):
        load_official_state(self.module, {PREFIX + key: value for key, value in state.items()}, "the fixture")

    def inputs(self, inputs):
        """Return the inputs by the last part of their names; officially one condition may come without its batch."""
        given = {name.rsplit(".", 1)[-1]: value for name, value in inputs.items()}
        return given | {name: given[name].reshape(-1, CONDITION) for name in ("c", "y") if name in given}


class GeneratorSubject(Network):
    def run(self, inputs):
        given, subject = self.inputs(inputs), copy.deepcopy(self)
        module = subject.module.train(self.training)
        heads = {f"block{n}.conv_mask": f"mask_logit{n}" for n in range(len(module.sides))} | {"conv_mask": "first"}
        with torch.no_grad(), subject.recording({**heads, "fc": "fc"}, {**heads, "fc": "fc"}.__getitem__) as recorded:
            image, features, masks = module.render(given["z"], given["c"])
        recorded |= {"image": image} | {f"mask_{side}": mask for side, mask in masks.items()}
        recorded |= {f"block{number}": feature for number, feature in enumerate(features.values())}
        recorded |= {f"after:{name}": buffer for name, buffer in module.named_buffers()}
        assert torch.equal(image, image if self.training else module(given["z"], given["c"]))
        return recorded

    training = False


class Norm(Network):
    @torch.no_grad()
    def run(self, inputs):
        given = self.inputs(inputs)
        gamma, beta = self.module.fc_gamma(given["y"]), self.module.fc_beta(given["y"])
        return {"out": self.module(given["x"], given["y"], given["mask"]), "gamma": gamma, "beta": beta}


class Block(Network):
    @torch.no_grad()
    def run(self, inputs):
        given = self.inputs(inputs)
        x, c, mask = given["x"], given["y"], given["mask"]
        out, logits = self.module(x, c, mask)
        outputs = {"out": out, "residual": self.module.residual(x, c, mask), "shortcut": self.module.shortcut(x)}
        return outputs if logits is None else {**outputs, "mask_logit": logits}


class DiscriminatorSubject(Network):
    @torch.no_grad()
    def run(self, inputs):
        given = self.inputs(inputs)
        with self.recording(["conv_img", *self.module.blocks]) as recorded:
            features = self.module(given["image"])
        logits = self.module.COND_DNET(features, given["c"])
        assert torch.equal(logits.flatten(), self.module.discriminate(given["image"], given["c"]))
        return {**recorded, "features": features, "logits": logits}


class Objectives(Network):
    def run(self, inputs):
        given, net = self.inputs(inputs), self.module
        real, fake, c = given["real"], given["fake"].requires_grad_(), given["c"]
        terms = discriminator_loss(net, real, fake, c)
        penalty = matching_penalty(net, real, c, 2.0, 6.0)
        outputs = {f"errD_{name}": terms[name] for name in ("real", "fake", "mismatch")}
        outputs |= {"errD": terms["total"], "gp_norm": squared_gradients(net, real, c).sqrt()}
        outputs |= {"d_loss_gp": penalty / 2, "d_loss": penalty, "errG": generator_loss(net, fake, c)}
        parameters = dict(net.named_parameters())
        for loss, value in (("errD", terms["total"]), ("d_loss", penalty)):
            gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            outputs |= {f"grad_{loss}:{name}": g for name, g in zip(parameters, gradients, strict=True)}
        (outputs["grad_errG:fake"],) = torch.autograd.grad(outputs["errG"], fake)
        return outputs


class Crops:
    """The image pipeline, a function without state: box, crop, resize; a centre crop for the official random one."""

    def __init__(self, entry):
        self.config = entry["config"]

    def state(self):
        return {}

    def param_count(self):
        return 0

    def load(self, state):
        assert not state

    def run(self, inputs):
        (pixels,) = inputs.values()
        picture, size = Image.fromarray(pixels.numpy()), self.config["imsize"]
        height, width = pixels.shape[:2]
        assert (height, width) == (self.config["height"], self.config["width"])
        outputs = {"crop_boxes": [list(crop_box(box, width, height)) for box in self.config["bboxes"]]}
        for number in self.config["use"]:
            crop = np.array(enlarged_crop(picture, self.config["bboxes"][number], size))
            image = to_images(torch.from_numpy(crop).permute(2, 0, 1)[None], torch.device("cpu"))[0]
            top, left = (round((side - size) / 2) for side in image.shape[1:])
            outputs[f"resized{number}"] = image
            outputs[f"center{number}"] = image[:, top : top + size, left : left + size]
        return outputs


def build(module, entry):
    config = entry["config"]
    match entry["class"]:
        case "NetG":
            subject = GeneratorSubject(Generator(config.get("ngf", 64), config.get("nz", 100)), entry)
            subject.training = entry.get("mode", "").startswith("train")
            return subject
        case "affine":
            return Norm(SemanticSpatialNorm(config["num_features"], CONDITION, CONDITION), entry)
        case "G_Block":
            widths = config["in_ch"], config["out_ch"]
            block = GeneratorBlock(*widths, CONDITION, CONDITION, predict_mask=config.get("predict_mask", True))
            return Block(block, entry)
        case "NetD":
            return DiscriminatorSubject(Discriminator(config["ndf"]), entry)
        case "NetD and the training step":
            return Objectives(Discriminator(config["ndf"]), entry)
        case "get_imgs":
            return Crops(entry)
    raise NotImplementedError(f"no subject for {entry['class']}")


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
