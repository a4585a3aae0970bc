"""Writers of weight files in the two official layouts, from small networks of ours.

The NVIDIA writer pickles stand-in objects under the official module names, which exist in `sys.modules` only
while it writes.
"""

import argparse
import pickle
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np
import torch

from kdx2i.teacher.official import rosinality
from kdx2i.teacher.stylegan2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.stylegan2.layers import fir_kernel

WIDTHS = (8, 6, 4)


def perturbed(module):
    """Give every parameter and buffer (but the kernels) values of its own."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not name.endswith("resample_filter"):
                tensor.add_(torch.randn_like(tensor) * 0.1)
    return module.eval()


def rosinality_networks():
    generator = Generator(rosinality.generator_config(16, 12, 3, WIDTHS))
    return perturbed(generator), perturbed(Discriminator(rosinality.discriminator_config(16, WIDTHS)))


def official_state(module, size):
    """Return the state dict of `module` as rosinality's network would have it."""
    state = OrderedDict()
    for name, tensor in module.state_dict().items():
        key = rosinality.official_key(name, size)
        if key is None:
            continue
        if name.endswith("resample_filter"):
            tensor = fir_kernel() * (4.0 if name.startswith("synthesis.") else 1.0)
        state[key] = tensor.reshape(rosinality.official_shape(name, tuple(tensor.shape))).clone()
    state._metadata = OrderedDict({"": {"version": 1}})
    return state


def rosinality_content(generator, discriminator, **changes):
    """Return the dict that rosinality's `train.py` saves."""
    g, d = official_state(generator, 16), official_state(discriminator, 16)
    optimiser = torch.optim.Adam(discriminator.parameters())
    content = {
        "g": g,
        "d": d,
        "g_ema": g,
        "d_optim": optimiser.state_dict(),
        "args": argparse.Namespace(path="lmdb", size=16, lr=0.002, wandb=False, ckpt=None),
        "ada_aug_p": 0.0,
    }
    content.update(changes)
    return {name: value for name, value in content.items() if value is not None}


def nvidia_networks(**options):
    g_config = GeneratorConfig(
        16, z_dim=8, w_dim=8, num_layers=2, channel_base=64, channel_max=8, conv_clamp=256, **options
    )
    d_config = DiscriminatorConfig(16, channel_base=64, channel_max=8, conv_clamp=256, mbstd_group_size=2)
    return perturbed(Generator(g_config)), perturbed(Discriminator(d_config))


ADA_G_KWARGS = {
    "z_dim": 8,
    "c_dim": 0,
    "w_dim": 8,
    "img_resolution": 16,
    "img_channels": 3,
    "mapping_kwargs": {"num_layers": 2},
    "synthesis_kwargs": {"channel_base": 64, "channel_max": 8, "num_fp16_res": 4, "conv_clamp": 256},
}
ADA_D_KWARGS = {
    "c_dim": 0,
    "img_resolution": 16,
    "img_channels": 3,
    "block_kwargs": {},
    "mapping_kwargs": {},
    "epilogue_kwargs": {"mbstd_group_size": 2},
    "channel_base": 64,
    "channel_max": 8,
    "num_fp16_res": 4,
    "conv_clamp": 256,
}
SG3_G_KWARGS = {
    "z_dim": 8,
    "c_dim": 0,
    "w_dim": 8,
    "img_resolution": 16,
    "img_channels": 3,
    "mapping_kwargs": {"num_layers": 2},
    "channel_base": 64,
    "channel_max": 8,
}
SG3_D_KWARGS = {k: v for k, v in ADA_D_KWARGS.items() if k != "conv_clamp"}
ADA_SOURCE = "import torch\nclass SynthesisBlock:\n    def __init__(self, conv_clamp = None): pass\n"
SG3_SOURCE = "import torch\nclass SynthesisBlock:\n    def __init__(self, conv_clamp = 256): pass\n"

CLASS_NAMES = {"EqualizedLinear": "FullyConnectedLayer", "EqualizedConv2d": "Conv2dLayer", "ToRGB": "ToRGBLayer"}


class Persistent:
    """Pickles itself as an instance of a class whose source text travels in the file."""

    def __init__(self, class_name, state, source, version=6):
        self.meta = {
            "type": "class",
            "version": version,
            "module_src": source,
            "class_name": class_name,
            "state": state,
        }

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def persistent(module, kwargs, source, class_name=None):
    """Return a module tree as persistent objects with the published `state` tables."""
    easy = sys.modules["dnnlib.util"].EasyDict
    kwargs = {k: easy(v) if isinstance(v, dict) else v for k, v in kwargs.items()}
    children = {name: persistent(child, {}, source) for name, child in module.named_children()}
    state = {
        "training": False,
        "_parameters": dict(module._parameters),
        "_buffers": OrderedDict(module._buffers),
        "_non_persistent_buffers_set": set(),
        "_forward_hooks": OrderedDict(),
        "_modules": children,
        "_init_args": (),
        "_init_kwargs": kwargs,
    }
    if hasattr(module, "weight_gain"):
        state["weight_gain"] = np.float64(module.weight_gain)
    return Persistent(class_name or CLASS_NAMES.get(type(module).__name__, type(module).__name__), state, source)


@contextmanager
def official_modules():
    """Let the official global names exist while a file is written."""
    persistence = types.ModuleType("torch_utils.persistence")
    util = types.ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("a file's code was run")

    class EasyDict(dict):
        pass

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
    persistence._reconstruct_persistent_obj, util.EasyDict = _reconstruct_persistent_obj, EasyDict
    names = {
        "torch_utils": types.ModuleType("torch_utils"),
        "torch_utils.persistence": persistence,
        "dnnlib": types.ModuleType("dnnlib"),
        "dnnlib.util": util,
    }
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def nvidia_bytes(generator, discriminator, *, protocol=4, stylegan3=False, **changes):
    """Return a network pickle; `changes` replace entries of the top-level dict."""
    source = SG3_SOURCE if stylegan3 else ADA_SOURCE
    with official_modules():
        g = persistent(generator, SG3_G_KWARGS if stylegan3 else ADA_G_KWARGS, source)
        d = persistent(discriminator, SG3_D_KWARGS if stylegan3 else ADA_D_KWARGS, source)
        content = {"training_set_kwargs": None, "G": g, "D": d, "G_ema": g, "augment_pipe": None}
        content.update({k: v(g, d) if callable(v) else v for k, v in changes.items()})
        return pickle.dumps(content, protocol=protocol)
