"""S2IGAN: speech and image encoders, generator, discriminators, relation supervisor, losses, log-mel, image pyramid."""

import re

import numpy as np
import torch
from torch import nn

from kdx2i.data.bird_crops import crop_box
from kdx2i.encoders.speech.augmentation import enlarged
from kdx2i.encoders.speech.features import RATE, filter_bank, log_mel, speech_features
from kdx2i.encoders.speech.image_networks import InceptionTrunk
from kdx2i.encoders.speech.losses import matching_losses
from kdx2i.encoders.speech.networks import Classifier, ImageHead, SpeechNetwork
from kdx2i.encoders.speech.settings import SpeechEncoderSizes
from kdx2i.methods.s2igan.discriminators import Discriminator, RelationSupervisor
from kdx2i.methods.s2igan.images import pyramid
from kdx2i.methods.s2igan.losses import Weights, discriminator_loss, generator_loss, kl_divergence, relation_loss
from kdx2i.methods.s2igan.networks import Generator
from kdx2i.methods.s2igan.settings import Networks
from kdx2i.teacher.official.state_dicts import without_parallel

from ..subject import ModuleSubject

CPU = torch.device("cpu")
ENLARGED = 76 / 64


class Network(ModuleSubject):
    """A network that is loaded as the official files are: with `module.` before each key."""

    def load(self, state):
        self.module.load_state_dict(without_parallel({"module." + key: value for key, value in state.items()}))


class Several(Network):
    """Networks by name, each loaded as one file."""

    def __init__(self, networks, entry):
        super().__init__(nn.ModuleDict(networks), entry)

    def load(self, state):
        for name, network in self.module.items():
            own = {key.removeprefix(f"{name}."): t for key, t in state.items() if key.startswith(f"{name}.")}
            Network(network, {}).load(own)


def given(inputs):
    """Return the inputs by the last part of their names."""
    return {name.rsplit(".", 1)[-1]: value for name, value in inputs.items()}


class Speech(Network):
    @torch.no_grad()
    def run(self, inputs):
        inputs, network = given(inputs), self.module
        mel, lengths = inputs["mel"].clone(), inputs["lengths"]
        for row, length in enumerate(lengths.tolist()):
            mel[row, length:] = 0
        with self.recording({"bnorm1": "bn1", "bnorm2": "bn2"}, {"bnorm1": "bn1", "bnorm2": "bn2"}.get) as recorded:
            states = network.states(mel, lengths)
        pairs = zip(mel, lengths.tolist(), strict=True)
        alone = [network(one[None, :length], torch.tensor([length]))[0] for one, length in pairs]
        weights = network.att.att_heads[0](states)
        recorded |= {"rnn": states, "alpha": weights, "embedding": network(mel, lengths)}
        return recorded | {"embedding_alone": torch.stack(alone)}


class Images(Several):
    @torch.no_grad()
    def run(self, inputs):
        embedding = self.module["image_encoder"](given(inputs)["features"])
        return {"embedding": embedding, "class_logits": self.module["classifier"](embedding)}


class Trunk(Network):
    @torch.no_grad()
    def run(self, inputs):
        return {"features": self.module(given(inputs)["image"])}


class Generating(Network):
    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        with self.recording(self.output_keys) as recorded:
            made = self.module(inputs["z"], inputs["speech"], inputs["eps"])
        recorded |= {"mu": made.mu, "logvar": made.logvar, "c_code": made.condition}
        return recorded | {f"image{image.shape[-1]}": image for image in made.images}


class Judging(Network):
    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        with self.recording(self.output_keys) as recorded:
            conditional, whole = self.module(inputs["image"], inputs["c"])
        logits = {"cond_logit": conditional.view(-1, 1, 1, 1), "uncond_logit": whole.view(-1, 1, 1, 1)}
        return recorded | logits | {"cond": conditional.sigmoid(), "uncond": whole.sigmoid()}


class Relation(Network):
    @torch.no_grad()
    def run(self, inputs):
        pair = given(inputs)
        logits, swapped = self.module(pair["first"], pair["second"]), self.module(pair["second"], pair["first"])
        return {"logits": logits, "logits_swapped": swapped}


class Losses(Several):
    """The objectives with every batch norm in training mode; images are read by their mean colours."""

    def embed(self, images):
        return self.module["image_encoder"](images.mean((2, 3)))

    def run(self, inputs):
        self.module.train()
        inputs = given(inputs)
        judges = [name for name in self.module if name.startswith("d_net")]
        sides = [name.removeprefix("d_net") for name in judges]
        outputs = {}
        for number, (name, side) in enumerate(zip(judges, sides, strict=True)):
            images = (inputs[f"{kind}{side}"] for kind in ("real", "wrong", "fake"))
            loss = discriminator_loss(self.module[name], *images, inputs["mu"])["total"]
            outputs[f"errD{number}"] = loss
            key = "img_code_s16.0.weight"
            (outputs[f"grad_D{number}:{key}"],) = torch.autograd.grad(loss, self.module[name].get_parameter(key))
        last, relate = sides[-1], self.module["relation_supervisor"]
        real, similar, fake, wrong = (
            self.embed(inputs[f"{kind}{last}"]) for kind in ("real", "similar", "fake", "wrong")
        )
        outputs["errMD"] = relation_loss(relate, real, similar, fake, wrong)
        (outputs["grad_MD:L2.weight"],) = torch.autograd.grad(outputs["errMD"], relate.L2.weight)
        names = [*(f"fake{side}" for side in sides), "mu", "logvar"]
        *fakes, mu, logvar = leaves = [inputs[name].clone().requires_grad_() for name in names]
        related = relate(real, self.embed(fakes[-1]))
        weights = Weights()
        terms = generator_loss([self.module[name] for name in judges], fakes, mu, logvar, weights, related)
        gradients = torch.autograd.grad(terms["total"], leaves)
        outputs |= {"kl": weights.kl * terms["kl"], "errG": terms["total"]}
        return outputs | {f"grad_G:{name}": gradient for name, gradient in zip(names, gradients, strict=True)}


class Function:
    """A function of inputs without state."""

    def __init__(self, function, entry):
        self.function, self.entry = function, entry

    def state(self):
        return {}

    def param_count(self):
        return 0

    def load(self, state):
        assert not state

    def run(self, inputs):
        return self.function(self.entry["config"], given(inputs))


def matching(config, inputs):
    leaves = [inputs[name].clone().requires_grad_() for name in ("image_embedding", "speech_embedding")]
    losses = matching_losses(*leaves, inputs["class_ids"], config["gamma3"])
    image, speech = torch.autograd.grad(sum(losses), leaves)
    return {
        "loss0": losses[0],
        "loss1": losses[1],
        "grad:image_embedding": image,
        "grad:speech_embedding": speech,
        "kl": kl_divergence(inputs["mu"], inputs["logvar"]),
    }


def mel(config, inputs):
    samples = config["samples"]
    tone = 0.3 * np.sin(2 * np.pi * config["tone"] * np.arange(samples) / RATE)
    wave = torch.from_numpy((inputs["wave"].numpy() * np.linspace(0.02, 1.0, samples) + tone).astype(np.float32))
    outputs = {"filterbank": filter_bank()}
    for padding in ("reflect", "constant"):
        outputs |= {f"logmel_{padding}": log_mel(wave, padding), f"mel_{padding}": speech_features(wave, RATE, padding)}
    return outputs


def image_pyramid(config, inputs):
    """The centre crop of each box (-1: the whole image), at three sizes of which the last is four times the first."""
    whole = inputs["image"].permute(2, 0, 1)
    assert whole.shape[1:] == (config["height"], config["width"])
    boxes = [crop_box(tuple(box), config["width"], config["height"]) for box in config["bboxes"]]
    base = config["base_size"]
    outputs = {"crop_boxes": [list(box) for box in boxes]}
    for number in config["use"]:
        left, top, right, bottom = boxes[number] if number >= 0 else (0, 0, config["width"], config["height"])
        large = enlarged(whole[None, :, top:bottom, left:right], 4 * base, ENLARGED)
        # torchvision's centre crop, which rounds half to even
        top, left = (round((room - 4 * base) / 2) for room in large.shape[2:])
        crop = large[:, :, top : top + 4 * base, left : left + 4 * base]
        suffix = str(number) if number >= 0 else "_nobox"
        outputs |= {f"scale{image.shape[-1]}_{suffix}": image[0] for image in pyramid(crop, 3, CPU)}
    return outputs


def networks(config):
    """Return the sizes; the number of images and of residual blocks are the official ones unless a config has them."""
    names = {"gf_dim": "gf_dim", "df_dim": "df_dim", "embedding_dim": "condition_dim"}
    names |= {"z_dim": "noise_dim", "speech_dim": "speech_dim", "branch_num": "stages", "r_num": "residual_blocks"}
    return Networks(**{names[key]: value for key, value in config.items() if key in names})


def generator(config, entry):
    sizes = networks(config)
    # The first of the official stages ends at 64 px.
    return Generating(Generator(sizes, 64 << sizes.stages - 1), entry)


def discriminator(resolution, config):
    sizes = networks(config)
    return Discriminator(resolution, sizes.df_dim, sizes.condition_dim)


def speech_encoder(config, entry):
    fixed = {"kernel_size": 6, "stride": 2, "padding": 0, "num_layers": 2, "n_heads": 1, "rnn_type": "GRU"}
    assert all(config.get(key, value) == value for key, value in fixed.items()), f"fixed in the code: {fixed}"
    widths = {"hid_channels": "first", "out_channels": "second", "hidden_size": "hidden", "att_hidden": "attention"}
    sizes = SpeechEncoderSizes(**{own: config[key] for key, own in widths.items()})
    return Speech(SpeechNetwork(sizes, config["in_channels"]), entry)


def image_encoder(config, entry):
    head = ImageHead(config["input_dim"], config["embedding_dim"])
    if "classes" not in config:
        return Network(head, entry)
    classifier = Classifier(config["embedding_dim"], config["classes"])
    return Images({"image_encoder": head, "classifier": classifier}, entry)


def objectives(config, entry):
    parts = {part: discriminator(int(part.removeprefix("d_net")), config) for part in entry["parts"] if "d_net" in part}
    inputs = entry["parts"]["image_encoder"]["state"][0][1]
    parts |= {"relation_supervisor": RelationSupervisor(inputs[0]), "image_encoder": ImageHead(inputs[1], inputs[0])}
    return Losses(parts, entry)


CLASSES = {
    "CNN_RNN_ENCODER": speech_encoder,
    "LINEAR_ENCODER": image_encoder,
    "CLASSIFIER": lambda config, entry: Network(
        Classifier(config.get("embedding_dim", 1024), config["classes"]), entry
    ),
    "Inception_v3": lambda config, entry: Trunk(InceptionTrunk(), entry),
    "G_NET": generator,
    "MD_NET": lambda config, entry: Relation(RelationSupervisor(), entry),
    "condGANTrainer": objectives,
    "batch_loss": lambda config, entry: Function(matching, entry),
    "audio_processing": lambda config, entry: Function(mel, entry),
    "get_imgs": lambda config, entry: Function(image_pyramid, entry),
}


def build(module, entry):
    """Entries are told apart by the first official name that they give."""
    name = re.match(r"\w+", entry["class"])[0]
    if resolution := re.fullmatch(r"D_NET(\d+)", name):
        return Judging(discriminator(int(resolution[1]), entry["config"]), entry)
    return CLASSES[name](entry["config"], entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
