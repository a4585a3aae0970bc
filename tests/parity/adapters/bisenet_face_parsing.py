"""BiSeNet of face-parsing.PyTorch, its loss, the two painting orders, and the bookkeeping of mIoU."""

import copy

import numpy as np
import torch

from kdx2i.metrics.segmentation.bisenet import BiSeNet, ohem_loss
from kdx2i.metrics.segmentation.label_orders import CELEBAMASK_HQ, FACE_PARSING, paint, relabelled
from kdx2i.metrics.segmentation.mean_iou import confusion_matrix, mean_iou

from ..fill import input_array
from ..subject import ModuleSubject

PLACES = {"cp.arm16": "arm16", "cp.arm32": "arm32", "cp.conv_avg": "conv_avg", "ffm": "ffm", "conv_out": "conv_out"}
PLACES |= {"cp.resnet.layer2": "feat8", "cp.resnet.layer3": "feat16", "cp.resnet.layer4": "feat32"}


class Network(ModuleSubject):
    """Outputs of the evaluation mode, and the main logits of a copy in training mode."""

    @torch.no_grad()
    def run(self, inputs):
        (x,) = inputs.values()
        training = copy.deepcopy(self.module).train()
        with self.recording(PLACES, PLACES.__getitem__) as recorded:
            out, out16, out32 = self.module(x)
        _, recorded["cp8"], recorded["cp16"] = self.module.cp(x)
        recorded |= {"out": out, "out16": out16, "out32": out32, "parsing": out.argmax(1), "out_train": training(x)[0]}
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


def loss(entry, inputs):
    labels = inputs["label"].long()
    labels[:, 0, :3] = entry["config"]["ignore_lb"]
    logits, config = inputs["bise.o.logits"], entry["config"]
    rest = (config["n_min"], config["ignore_lb"])
    return {
        "loss": ohem_loss(logits, labels, config["thresh"], *rest),
        "loss_hard": ohem_loss(logits, labels, 1e-4, *rest),
    }


def merge(entry, inputs):
    """The masks of all parts are inputs by one pattern of names; the orders of the suite are the published ones."""
    config, (item,) = entry["config"], entry["inputs"]
    assert (tuple(config["sean_order"]), tuple(config["bisenet_order"])) == (CELEBAMASK_HQ, FACE_PARSING)
    shape = tuple(item["shape"])
    masks = {
        part: torch.from_numpy(input_array(item["name"].replace("<part>", part), shape, item["low"], item["high"]))
        < np.float32(config["threshold"])
        for part in CELEBAMASK_HQ[1:]
    }
    sean = paint(masks, CELEBAMASK_HQ)
    return {
        "label_sean": sean,
        "label_bisenet": paint(masks, FACE_PARSING),
        "sean_as_bisenet": relabelled(sean, CELEBAMASK_HQ, FACE_PARSING),
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
