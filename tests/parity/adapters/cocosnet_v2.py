"""CoCosNet v2: pyramids, PatchMatch and its GRU, the whole correspondence, generator, discriminator, VGG19, losses.

Parts of `config` that have no setting are still honoured: other norms, kernels and poolings than the published ones.
"""

import copy
import itertools
import re

import torch
import torch.nn.functional as F

from kdx2i.methods.cocosnet_v2 import offsets, patch_match
from kdx2i.methods.cocosnet_v2.blocks import SpadeBlock, feature_normalize
from kdx2i.methods.cocosnet_v2.correspondence import CorrespondenceNetwork
from kdx2i.methods.cocosnet_v2.features import AdaptiveFeatures
from kdx2i.methods.cocosnet_v2.losses import contextual_loss, sample_weights, weighted_l1
from kdx2i.methods.cocosnet_v2.networks import Discriminator, Generator
from kdx2i.methods.cocosnet_v2.perceptual import VGG19

from ..subject import ModuleSubject


def named(values, prefix="out/"):
    return {f"{prefix}{key}": value for key, value in values.items()}


def given(inputs):
    """Return inputs by what follows the last dot of their names, such as `coco.f.x`."""
    return {name.rsplit(".", 1)[-1]: value for name, value in inputs.items()}


class Function:
    """A function of the config and the inputs, without state."""

    def __init__(self, function, entry):
        self.function, self.config = function, entry["config"]

    def state(self):
        return {}

    def param_count(self):
        return 0

    def load(self, state):
        assert not state

    @torch.no_grad()
    def run(self, inputs):
        return named(self.function(self.config, given(inputs)))


class Features(ModuleSubject):
    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        return named({f"x{number}": x for number, x in enumerate(self.module(inputs["x"]), start=6)})


class Block(ModuleSubject):
    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        x, condition = inputs["x"], inputs["seg"]
        training = copy.deepcopy(self.module).train()
        return named(
            {
                "out": self.module(x, condition),
                "shortcut": self.module.shortcut(x, condition),
                "out_train": training(x, condition),
            }
        )


class Update(ModuleSubject):
    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        flow, scores = inputs["flow"], inputs["corr"]
        state, (rows, columns) = self.module(inputs["hidden"], scores, flow)
        motion = self.module.encoder(flow, scores)
        return named({"hidden": state, "delta_x": rows, "delta_y": columns, "motion": motion})


class Match(ModuleSubject):
    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        left, right = (offsets.centred(inputs[side]) for side in ("left", "right"))
        start = inputs["ox"].round(), inputs["oy"].round()
        exemplar = inputs["ref"].reshape(len(left), -1, *left.shape[2:])
        coins = itertools.cycle(inputs["coins"].tolist())
        steps = []
        handle = self.module.refine_net.register_forward_hook(lambda module, given, result: steps.append(result))
        indices, warp = self.module(left, right, exemplar, start, lambda: next(coins))
        handle.remove()
        result = {"warp": warp.flatten(2), "inds": indices}
        result["initial_hidden"] = self.module.initial_layer(torch.cat([left, right], 1))
        for number, (state, (rows, columns)) in enumerate(steps):
            result |= {f"it{number}_hidden": state, f"it{number}_dx": rows, f"it{number}_dy": columns}
        return named(result)


class Whole(ModuleSubject):
    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        pyramids = {}
        for name, key in (("adaptive_model_seg", "seg"), ("adaptive_model_img", "img")):
            self.module.get_submodule(name).register_forward_hook(
                lambda module, given, result, key=key: pyramids.setdefault(key, result)
            )
        coins = itertools.cycle(inputs["coins"].tolist())
        arguments = (inputs["seg"], inputs["ref"], inputs["ref_seg"])
        found = self.module(*arguments, lambda: next(coins))
        result = {f"warp_{level}": warp for level, warp in enumerate(found.warps)} | {"warp_cycle": found.cycle}
        for key, levels in pyramids.items():
            result |= {f"{key}_feat_{level}": x for level, x in enumerate(levels)}
        return named(result)


class Translation(ModuleSubject):
    PLACES = ("fc", "head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "conv_img")

    def __init__(self, module, labels, entry):
        super().__init__(module, entry)
        self.labels = labels

    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        label = F.one_hot(inputs["label"].long(), self.labels).permute(0, 3, 1, 2).float()
        condition = self.module.condition(label, [inputs[f"warp{level}"] for level in range(4)])
        with self.recording(self.PLACES) as recorded:
            image, _ = self.module(condition)
        return named({**recorded, "image": image})


class Judge(ModuleSubject):
    def __init__(self, module, entry):
        super().__init__(module, entry)
        self.last_only = entry["config"]["no_ganFeat_loss"]

    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        x = inputs["input"]
        training = copy.deepcopy(self.module).train()
        result = {f"train_d{scale}_pred": layers[-1] for scale, layers in enumerate(training(x))}
        for scale, layers in enumerate(self.module(x)):
            # The official switch leaves the prediction alone.
            kept = layers[-1:] if self.last_only else layers
            result |= {f"d{scale}_l{number}": layer for number, layer in enumerate(kept)}
        return named(result)


class Perceptual(ModuleSubject):
    @torch.no_grad()
    def run(self, inputs):
        inputs = given(inputs)
        features = self.module(inputs["x"])
        return named({f"r{block}2": x for block, x in enumerate(features, start=1)})


def ops(config, inputs):
    size = config["size"]
    rows, columns = inputs["ox"], inputs["oy"]
    assert rows.shape[1:] == (config["candidates"], size, size)
    back = offsets.offsets_of(inputs["inds"].floor())
    feature = inputs["feature"]
    result = {"offset_x": back[0], "offset_y": back[1], "inds_float": offsets.real_indices(rows, columns)}
    result["inds_long"] = offsets.indices_of(rows, columns).transpose(1, 2).reshape(rows.shape)
    for name, horizontal in (("h", True), ("v", False)):
        for axis, part in (("x", rows), ("y", columns)):
            result[f"prop_{name}_{axis}"] = offsets.propagated(part, horizontal=horizontal)
    return result | {
        "pono_c_k1": offsets.centred(feature),
        "pono_c_k3": offsets.centred(feature, 3),
        "pono_hw_k1": offsets.centred(feature, over_channels=False),
    }


def once(config, inputs):
    left, right = inputs["left"], inputs["right"]
    start, temperature = (inputs["ox"].round(), inputs["oy"].round()), config["temperature"]
    assert left.shape[1:] == (config["channels"], config["size"] ** 2) and start[0].shape[1] == config["candidates"]
    spread = tuple(offsets.propagated(part, horizontal=True) for part in start)
    results = {"eval": patch_match.evaluated(left, right, spread, temperature)}
    for name, coin in (("h_first", 0.2), ("v_first", 0.8)):
        results[name] = patch_match.search(left, right, start, temperature, coin)
    flat = {}
    for name, ((rows, columns), scores) in results.items():
        flat |= {f"{name}_x": rows, f"{name}_y": columns, f"{name}_corr": scores.transpose(1, 2)}
    return flat


def losses(config, inputs):
    x, y, bandwidth = inputs["fx"], inputs["fy"], config["h"]
    own = (torch.arange(len(x)).remainder(2) == 0).float()
    return {
        "contextual_pono": contextual_loss(x, y, bandwidth),
        "contextual_nopono": contextual_loss(x, y, bandwidth, over_channels=False),
        "feature_normalize": feature_normalize(x),
        "weighted_l1": weighted_l1(x, y, sample_weights(own)),
        "mse": (x - y).square().mean(),
    }


def correspondence(config):
    if config["match_kernel"] != 1:
        raise ValueError("the official network runs with match_kernel 1 only")
    return CorrespondenceNetwork(
        config["semantic_nc"],
        config["nef"],
        temperature=config["temperature"],
        iterations=config["iteration_count"],
        kernel=config["featEnc_kernel"],
        norm=config["norm_E"],
        spade_norm=config["norm_G"],
        pono=config["PONO"],
        channel_centred=config["PONO_C"],
    )


def generator(config, entry):
    columns = config["crop_size"] // 32
    start = round(columns / config["aspect_ratio"]), columns
    labels = config["label_nc"]
    module = Generator(labels, config["ngf"], start, norm=config["norm_G"], pono=config["PONO"])
    return Translation(module, labels, entry)


def discriminator(config, entry):
    inputs = config["label_nc"] + config["output_nc"] + config["contain_dontcare_label"]
    sizes = {"scales": config["num_D"], "layers": config["n_layers_D"], "norm": config["norm_D"]}
    return Judge(Discriminator(inputs, config["semantic_nc"], config["ndf"], **sizes), entry)


def features(config):
    sizes = {"kernel": config["featEnc_kernel"], "norm": config["norm_E"], "spade_norm": config["norm_G"]}
    return AdaptiveFeatures(config["spade_ic"], config["nef"], **sizes, pono=config["PONO"])


def spade_block(config):
    condition = config.get("spade_ic", 12 + config["label_nc"])
    return SpadeBlock(config["fin"], config["fout"], condition, config["norm_G"], pono=config["PONO"])


def update_block(config):
    assert (config["candidates"], config["hidden"]) == (offsets.CANDIDATES, patch_match.HIDDEN), "fixed in the code"
    return patch_match.UpdateBlock()


def patch_match_gru(config):
    return patch_match.PatchMatchGRU(config["nef"], config["temperature"], config["iteration_count"])


def vgg19(config):
    return VGG19(config["pool"], normal_correct=config.get("vgg_normal_correct", False))


FUNCTIONS = {"inds_to_offset": ops, "PatchMatchOnce": once, "ContextualLoss_forward": losses}
MODULES = {
    "AdaptiveFeatureGenerator": (Features, features),
    "SPADEResnetBlock": (Block, spade_block),
    "BasicUpdateBlock": (Update, update_block),
    "PatchMatchGRU": (Match, patch_match_gru),
    "NoVGGHPMCorrespondence": (Whole, correspondence),
    "VGG19_feature_color_torchversion": (Perceptual, vgg19),
}
WHOLE = {"SPADEGenerator": generator, "MultiscaleDiscriminator": discriminator}


def build(module, entry):
    """Entries are told apart by the first official name that they give."""
    name = re.match(r"\w+", entry.get("class", entry.get("official_class")))[0]
    if name in FUNCTIONS:
        return Function(FUNCTIONS[name], entry)
    if name in WHOLE:
        return WHOLE[name](entry["config"], entry)
    kind, make = MODULES[name]
    return kind(make(entry["config"]), entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
