"""BiSeNet of face-parsing.PyTorch, its loss, the two painting orders, and the bookkeeping of mIoU."""

import copy
import re

import numpy as np
import torch

from kdx2i.metrics.segmentation.bisenet import BiSeNet, ohem_loss
from kdx2i.metrics.segmentation.label_orders import CELEBAMASK_HQ, FACE_PARSING, paint, relabelled
from kdx2i.metrics.segmentation.mean_iou import confusion_matrix, mean_iou

from ..fill import input_array
from ..subject import NUMBER, ModuleSubject

PLACES = {"cp.arm16": "arm16", "cp.arm32": "arm32", "cp.conv_avg": "conv_avg", "ffm": "ffm", "conv_out": "conv_out"}
PLACES |= {"cp.resnet.layer2": "feat8", "cp.resnet.layer3": "feat16", "cp.resnet.layer4": "feat32"}


class Network(ModuleSubject):
    """Outputs of the evaluation mode and, where they are asked for, the main logits of a copy in training mode."""

    @torch.no_grad()
    def run(self, inputs):
        (x,) = inputs.values()
        with self.recording(PLACES, PLACES.__getitem__) as recorded:
            out, out16, out32 = self.module(x)
        _, recorded["cp8"], recorded["cp16"] = self.module.cp(x)
        recorded |= {"out": out, "out16": out16, "out32": out32, "parsing": out.argmax(1)}
        if self.wants("out/out_train"):  # a single small image has no batch statistics
            recorded["out_train"] = copy.deepcopy(self.module).train()(x)[0]
        return {f"out/{name}": value for name, value in recorded.items()}


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
        recorded = self.function(self.entry, inputs)
        return {f"out/{name}": torch.as_tensor(value) for name, value in recorded.items()}


FIRST = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}


def ignored(entry):
    """Return how many pixels at the start of each image the fixture's words say are ignored."""
    words = " ".join(item.get("use", "") for item in entry["inputs"])
    match = re.search(r"the first (\w+) pixels?", words)
    return 0 if match is None else int(FIRST.get(match[1], match[1]))


def loss(entry, inputs):
    """Logits are the input of four dimensions, labels that of three; each output may name a threshold of its own."""
    config = {"ignore_lb": 255, **entry["config"]}
    (logits,), (labels,) = ([x for x in inputs.values() if x.ndim == n] for n in (4, 3))
    labels = labels.long()
    labels[:, 0, : ignored(entry)] = config["ignore_lb"]
    recorded = {}
    for item in entry["outputs"]:
        own = re.search(f"thresh {NUMBER}", item["meaning"])
        threshold = config["thresh"] if own is None else float(own[1])
        name = item["key"].removeprefix("out/")
        recorded[name] = ohem_loss(logits, labels, threshold, config["n_min"], config["ignore_lb"])
    return recorded


def merge(entry, inputs):
    """The masks of all parts are inputs by one pattern of names; the orders are the fixture's, else the suite's."""
    config, (item,) = entry["config"], entry["inputs"]
    of_sean = tuple(config.get("sean_order", CELEBAMASK_HQ))
    of_bisenet = tuple(config.get("bisenet_order", FACE_PARSING))
    shape = tuple(item["shape"])
    masks = {
        part: torch.from_numpy(input_array(item["name"].replace("<part>", part), shape, item["low"], item["high"]))
        < np.float32(config["threshold"])
        for part in of_sean[1:]
    }
    sean = paint(masks, of_sean)
    return {
        "label_sean": sean,
        "label_bisenet": paint(masks, of_bisenet),
        "sean_as_bisenet": relabelled(sean, of_sean, of_bisenet),
    }


def miou(entry, inputs):
    confusion = confusion_matrix(inputs["pred"], inputs["gt"], entry["config"]["n_classes"])
    recorded = {"confusion": confusion}
    for name, absent in {"miou_union": "exclude", "miou_gt": "target", "miou_all": "zero"}.items():
        recorded[name] = mean_iou(confusion, absent=absent).value / 100
    per_class = mean_iou(confusion).per_class
    recorded["iou"] = [-1.0 if iou is None else iou / 100 for iou in per_class]
    recorded["pixel_accuracy"] = float(confusion.diagonal().sum() / confusion.sum())
    return recorded


FUNCTIONS = {"ohem_loss": loss, "label_merge": merge, "miou": miou}


def build(module, entry):
    if module in FUNCTIONS:
        return Function(FUNCTIONS[module], entry)
    return Network(BiSeNet(**entry["config"]), entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry


def extra_counts(paper):
    for module, entry in paper.get("modules", {}).items():
        backbone = BiSeNet(**entry["config"]).cp.resnet
        yield f"{module}, backbone", ModuleSubject(backbone, {}), entry["param_count_backbone"]
