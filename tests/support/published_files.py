"""Small models of every architecture, and their files in the layouts that the authors publish."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from repository import ROOT
from torch import Tensor, nn

from kdx2i.methods.build import build_method
from kdx2i.methods.embedding_scale import EMBEDDINGS

CPU = torch.device("cpu")
TEXT, SPEECH = (ROOT / f"benchmarks/encoders/{name}.safetensors" for name in ("animals-text", "plants-speech"))


@dataclass(frozen=True)
class Small:
    """A small model: the settings of its networks, and which files of a folder hold which of its networks.

    `files`: by name, a network (`network` or `network.part`), or networks by the key that each has in the file.
    `path`: the file that is named; `parallel`: its tensors have `module.` before their names.
    """

    architecture: str
    networks: Mapping[str, Any]
    resolution: int
    files: Mapping[str, str | Mapping[str, str]]
    path: str
    classes: int = 1
    encoders: Path | None = None
    parallel: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


STARGAN = {"style_dim": 4, "latent_dim": 3, "max_conv_dim": 8, "hidden_dim": 6, "dim_in": 4, "num_down": 1}
SMALL = {
    "stargan_v2": Small(
        "stargan_v2",
        STARGAN,
        16,
        {"100000_nets_ema.ckpt": {name: name for name in ("generator", "mapping_network", "style_encoder")}},
        "100000_nets_ema.ckpt",
        classes=3,
    ),
    "sdit": Small(
        "sdit",
        {"width": 4, "mlp_dim": 8, "encoder_blocks": 2, "adain_blocks": 2},
        32,
        {"200000-G.ckpt": "generator"},
        "200000-G.ckpt",
        classes=3,
    ),
    "sdit without attention": Small(
        "sdit",
        {"width": 4, "mlp_dim": 8, "adain_blocks": 2, "attention": False},
        32,
        {"200000-G.ckpt": "generator"},
        "200000-G.ckpt",
        classes=3,
    ),
    "dmit": Small(
        "dmit",
        {"width": 4, "style_dim": 3, "encoder_blocks": 2, "style_blocks": 3, "decoder_blocks": 2},
        32,
        {
            "dec_latest.pth": "decoder",
            "enc_style_latest.pth": "style_encoder",
            "enc_content_latest.pth": "content_encoder",
        },
        "dec_latest.pth",
        classes=3,
    ),
    "drit_pp": Small(
        "drit_pp",
        {"width": 4, "attribute_dim": 3},
        32,
        {"art_MDMM.pth": {"enc_c": "content_encoder", "enc_a": "attribute_encoder", "gen": "generator"}},
        "art_MDMM.pth",
        classes=3,
        extra={"ep": 5, "total_it": 900},
    ),
    "drit_pp feature-wise": Small(
        "drit_pp",
        {"width": 4, "attribute_mode": "feature-wise"},
        32,
        {"last.pth": {"enc_c": "content_encoder", "enc_a": "attribute_encoder", "gen": "generator"}},
        "last.pth",
        classes=3,
    ),
    "deepi2i": Small(
        "deepi2i",
        {"width": 8, "z_dim": 25, "shared_dim": 4, "teacher_classes": 5, "attention": 32},
        64,
        {"G.pth": "generator", "E1.pth": "encoder", "A1.pth": "adaptor"},
        "G.pth",
        classes=5,
    ),
    "transferi2i": Small(
        "transferi2i",
        {"width": 2, "z_dim": 25, "shared_dim": 4, "teacher_classes": 5, "attention": 0},
        64,
        {"G.pth": "generator", "E1.pth": "encoder", "A1.pth": "adaptor"},
        "G.pth",
        classes=5,
    ),
    "deepi2i on StyleGAN": Small(
        "deepi2i",
        {
            "backbone": "stylegan1",
            "z_dim": 8,
            "w_dim": 8,
            "mapping_layers": 2,
            "channel_max": 8,
            "channel_base": 128,
            "max_resolution": 32,
            "addition_weights": {4: 0.1, 8: 0.1},
        },
        32,
        {
            "train_step-7.model": {
                "generator": "generator_0",
                "g_running": "generator_0",
                "discriminator": "encoder",
                "encoder": "encoder",
                "align": "adaptor_0",
            }
        },
        "train_step-7.model",
    ),
    "ssa_gan": Small(
        "ssa_gan",
        {"ngf": 2, "noise_dim": 5, "condition_dim": 64, "modulation_width": 7},
        32,
        {"netG_550.pth": "generator"},
        "netG_550.pth",
        encoders=TEXT,
        parallel=True,
    ),
    "s2igan": Small(
        "s2igan",
        {"gf_dim": 4, "condition_dim": 5, "noise_dim": 6, "speech_dim": 128, "residual_blocks": 1},
        32,
        {"netG_600.pth": "generator"},
        "netG_600.pth",
        encoders=SPEECH,
        parallel=True,
    ),
    "spade": Small(
        "spade", {"label_nc": 5, "ngf": 2, "hidden": 4}, 32, {"latest_net_G.pth": "generator"}, "latest_net_G.pth"
    ),
    "oasis": Small(
        "oasis", {"label_nc": 5, "channels_g": 2, "hidden": 4}, 64, {"best_EMA.pth": "generator"}, "best_EMA.pth"
    ),
    "cocosnet_v2": Small(
        "cocosnet_v2",
        {"label_nc": 5, "width": 2, "feature_width": 2, "spade_hidden": 4, "exemplars": 1},
        64,
        {"latest_net_G.pth": "translator.generator", "latest_net_Corr.pth": "translator.correspondence"},
        "latest_net_G.pth",
    ),
    "sean": Small(
        "sean",
        {"label_nc": 5, "ngf": 2, "hidden": 4, "style_length": 6, "style_layers": 5, "encoder_width": 4},
        64,
        {"latest_net_G.pth": "generator"},
        "latest_net_G.pth",
    ),
}


def small_method(small: Small, images: Any = None) -> Any:
    """Return a random method whose running statistics and zero weights are random, too."""
    torch.manual_seed(1)
    settings = {"networks": dict(small.networks)}
    method = build_method(
        small.architecture, settings, small.resolution, small.classes, CPU, images, encoders=small.encoders
    )
    for name, module in method.averages.items():
        if name == EMBEDDINGS:  # Published models read embeddings as the encoder puts them out.
            continue
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.05 * torch.rand_like(tensor))
    return method


def part(method: Any, place: str) -> nn.Module:
    """Return an averaged network, or a part of it."""
    network, _, name = place.partition(".")
    module: nn.Module = method.averages[network]
    return module.get_submodule(name) if name else module


def write_published(small: Small, method: Any, folder: Path, *, legacy: bool = False) -> Path:
    """Write the files of a method, and return the path of the one that is named."""
    folder.mkdir(parents=True, exist_ok=True)
    before = "module." if small.parallel else ""

    def state(place: str) -> dict[str, Tensor]:
        return {before + name: tensor.clone() for name, tensor in part(method, place).state_dict().items()}

    for name, held in small.files.items():
        content = state(held) if isinstance(held, str) else {key: state(place) for key, place in held.items()}
        torch.save({**content, **small.extra}, folder / name, _use_new_zipfile_serialization=not legacy)
    return folder / small.path


def exemplars(count: int, side: int, labels: int) -> Any:
    """Return what CoCosNet v2 keeps exemplars of: training images with their label maps."""
    drawn = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (count, 3, side, side), generator=drawn).to(torch.uint8)
    maps = torch.randint(0, labels, (count, side, side), generator=drawn).to(torch.uint8)
    return SimpleNamespace(task=SimpleNamespace(images=images, maps=maps, is_test=torch.zeros(count).bool()))
