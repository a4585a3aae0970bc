"""The building blocks of StarGAN v2 (`core/model.py` of clovaai/stargan-v2).

Parameters carry the official names. A 3x3 convolution that is followed by average pooling, or that follows
a nearest enlargement, is computed as one strided 4x4 convolution with the summed kernel: the same function
with 4 instead of 9 products a pixel.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
ROOT_HALF = 1.0 / math.sqrt(2.0)
_FOLDS: dict[tuple[torch.device, torch.dtype, bool], Tensor] = {}


def _fold_matrix(weight: Tensor, enlarge: bool) -> Tensor:
    """Return the [16, 9] matrix from 3x3 kernels to 4x4 kernels (mirrored and times 4 for `enlarge`)."""
    key = (weight.device, weight.dtype, enlarge)
    if key not in _FOLDS:
        with torch.inference_mode(False), torch.no_grad():
            taps = torch.zeros(4, 3)
            for k in range(3):
                taps[k, k] = taps[k + 1, k] = 0.5
            matrix = torch.einsum("ab,cd->acbd", taps, taps)
            if enlarge:
                matrix = matrix.flip(0, 1) * 4.0
            _FOLDS[key] = matrix.reshape(16, 9).to(weight)
    return _FOLDS[key]


def _fold(weight: Tensor, enlarge: bool) -> Tensor:
    """[O, I, 3, 3] -> [O, I, 4, 4]: every 3x3 kernel spread over the 2x2 positions that share a pixel."""
    rows = weight.reshape(-1, 9) @ _fold_matrix(weight, enlarge).t()
    return rows.reshape(weight.shape[0], weight.shape[1], 4, 4)


def conv_pool(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return avg_pool2d(conv(x), 2) for a 3x3 convolution, [B, I, H, W] -> [B, O, H / 2, W / 2]."""
    return F.conv2d(x, _fold(conv.weight, enlarge=False), conv.bias, stride=2, padding=1)


def enlarge_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return conv(nearest enlargement of x by two) for a 3x3 convolution, [B, I, H, W] -> [B, O, 2 H, 2 W]."""
    weight = _fold(conv.weight, enlarge=True).transpose(0, 1)
    return F.conv_transpose2d(x, weight, conv.bias, stride=2, padding=1)


def _join(main: Tensor, short: Tensor) -> Tensor:
    """Return (main + short) / sqrt(2), the sum that keeps the variance."""
    return (main + short).mul_(ROOT_HALF)


class ResBlk(nn.Module):
    """Pre-activation residual block, [B, I, H, W] -> [B, O, H, W] or, with `downsample`, half the size.

    The width changes in the second convolution; the shortcut is projected only if the width changes.
    """

    def __init__(self, dim_in: int, dim_out: int, *, normalize: bool = False, downsample: bool = False) -> None:
        super().__init__()
        self.normalize, self.downsample = normalize, downsample
        self.conv1 = nn.Conv2d(dim_in, dim_in, 3, padding=1)
        self.conv2 = nn.Conv2d(dim_in, dim_out, 3, padding=1)
        if normalize:
            self.norm1 = nn.InstanceNorm2d(dim_in, affine=True)
            self.norm2 = nn.InstanceNorm2d(dim_in, affine=True)
        self.conv1x1 = nn.Conv2d(dim_in, dim_out, 1, bias=False) if dim_in != dim_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        short = F.avg_pool2d(x, 2) if self.downsample else x
        if self.conv1x1 is not None:
            # A 1x1 convolution without bias commutes with pooling: pooling first is a quarter of the work.
            short = self.conv1x1(short)
        y = F.leaky_relu(self.norm1(x), SLOPE, inplace=True) if self.normalize else F.leaky_relu(x, SLOPE)
        y = conv_pool(y, self.conv1) if self.downsample else self.conv1(y)
        y = self.norm2(y) if self.normalize else y
        y = self.conv2(F.leaky_relu(y, SLOPE, inplace=True))
        return _join(y, short)


class AdaIN(nn.Module):
    """Instance normalisation whose scale and shift come from the style: (1 + gamma) norm(x) + beta."""

    def __init__(self, style_dim: int, num_features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(style_dim, 2 * num_features)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """x [B, C, H, W], s [B, style_dim] -> [B, C, H, W]; a 1x1 feature raises `ValueError`."""
        batch, channels, height, width = x.shape
        if height * width == 1:
            raise ValueError("instance normalisation needs more than one pixel a channel")
        gamma, beta = self.fc(s).to(x.dtype).chunk(2, dim=1)
        # One fused call: each (sample, channel) is a channel of a batch of one.
        y = F.batch_norm(
            x.reshape(1, batch * channels, height, width),
            None,
            None,
            (1.0 + gamma).reshape(-1),
            beta.reshape(-1),
            training=True,
            eps=1e-5,
        )
        return y.reshape(batch, channels, height, width)


class AdainResBlk(nn.Module):
    """Residual block of the decoder, [B, I, H, W] -> [B, O, H, W] or, with `upsample`, twice the size.

    The width changes in the first convolution. Unless `w_hpf` is 0 there is no shortcut, but its projection
    stays in the state dict, as in the official checkpoints.
    """

    def __init__(
        self, dim_in: int, dim_out: int, style_dim: int, *, w_hpf: float = 0.0, upsample: bool = False
    ) -> None:
        super().__init__()
        self.w_hpf, self.upsample = w_hpf, upsample
        self.conv1 = nn.Conv2d(dim_in, dim_out, 3, padding=1)
        self.conv2 = nn.Conv2d(dim_out, dim_out, 3, padding=1)
        self.norm1 = AdaIN(style_dim, dim_in)
        self.norm2 = AdaIN(style_dim, dim_out)
        self.conv1x1 = nn.Conv2d(dim_in, dim_out, 1, bias=False) if dim_in != dim_out else None

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Apply the block with the style s [B, style_dim]."""
        y = F.leaky_relu(self.norm1(x, s), SLOPE, inplace=True)
        y = enlarge_conv(y, self.conv1) if self.upsample else self.conv1(y)
        y = self.conv2(F.leaky_relu(self.norm2(y, s), SLOPE, inplace=True))
        if self.w_hpf != 0:
            return cast(Tensor, y)
        short = x if self.conv1x1 is None else self.conv1x1(x)
        # A 1x1 convolution commutes with the enlargement, which therefore comes last.
        return _join(y, F.interpolate(short, scale_factor=2, mode="nearest") if self.upsample else short)


class HighPass(nn.Module):
    """Depthwise 3x3 Laplacian divided by `w_hpf` (used only where `w_hpf > 0`, CelebA-HQ)."""

    filter: Tensor

    def __init__(self, w_hpf: float) -> None:
        super().__init__()
        kernel = torch.full((3, 3), -1.0)
        kernel[1, 1] = 8.0
        self.register_buffer("filter", kernel / w_hpf)

    def forward(self, x: Tensor) -> Tensor:
        """Filter every channel of [B, C, H, W], zero padding 1."""
        weight = self.filter.to(x.dtype)[None, None].expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, weight, padding=1, groups=x.shape[1])


class DomainHeads(nn.Module):
    """A small perceptron for each domain, of which each sample runs only the one that it asks for.

    The official code runs every head for every sample and then picks one. Here the heads are stacked
    (weight [D, O, I], bias [D, O] a layer) and `forward` gathers the requested domains, so that the cost does
    not grow with the number of domains (555 for birds). The gradient stays a dense tensor with zeros for the
    other domains, so that Adam's weight decay acts on every head as it does officially. The state dict has
    the official keys, `<domain>.<layer>.weight`, or `<domain>.weight` for a single layer (`nested=False`).
    """

    def __init__(self, num_domains: int, widths: list[int], *, nested: bool) -> None:
        super().__init__()
        self.num_domains, self.depth = num_domains, len(widths) - 1
        self.names = [f"{2 * k}." for k in range(self.depth)] if nested else [""]
        for k in range(self.depth):
            weight = nn.Parameter(torch.empty(num_domains, widths[k + 1], widths[k]))
            bias = nn.Parameter(torch.empty(num_domains, widths[k + 1]))
            bound = 1.0 / math.sqrt(widths[k])
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)
            self.register_parameter(f"weight{k}", weight)
            self.register_parameter(f"bias{k}", bias)

    def layer(self, k: int) -> tuple[Tensor, Tensor]:
        """Return the stacked weight [D, O, I] and bias [D, O] of layer k."""
        return self.get_parameter(f"weight{k}"), self.get_parameter(f"bias{k}")

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x [B, I], y int64 [B] with 0 <= y < num_domains -> [B, O]; ReLU between the layers."""
        for k in range(self.depth):
            x = _per_domain(F.relu(x) if k else x, *self.layer(k), y)
        return x

    def _entries(self, prefix: str) -> Iterator[tuple[str, str, int]]:
        """Yield (official key, own parameter, domain) in the official order."""
        for d in range(self.num_domains):
            for k, name in enumerate(self.names):
                for part in ("weight", "bias"):
                    yield f"{prefix}{d}.{name}{part}", f"{part}{k}", d

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Write views of the stacked tensors under the official keys."""
        for key, name, d in self._entries(prefix):
            parameter = self.get_parameter(name)
            destination[key] = (parameter if keep_vars else parameter.detach())[d]

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Read official keys into the stacked tensors; reports are as in `nn.Module`."""
        domains: dict[str, list[Tensor]] = {}
        official = set()
        for key, name, _ in self._entries(prefix):
            official.add(key)
            shape, value = self.get_parameter(name).shape[1:], state_dict.get(key)
            if value is None:
                missing_keys.append(key)
            elif value.shape != shape:
                error_msgs.append(f"size mismatch for {key}: {tuple(value.shape)}, expected {tuple(shape)}")
            else:
                domains.setdefault(name, []).append(value)
        if strict:
            unexpected_keys.extend(k for k in state_dict if k.startswith(prefix) and k not in official)
        for name, values in domains.items():
            if len(values) == self.num_domains:
                self._put(name, values, assign=bool(local_metadata.get("assign_to_params_buffers")))

    def _put(self, name: str, values: list[Tensor], *, assign: bool) -> None:
        """Set one stacked parameter from its domains' tensors."""
        with torch.no_grad():
            if assign:
                self.register_parameter(name, nn.Parameter(torch.stack(values)))
            else:
                for target, value in zip(self.get_parameter(name), values, strict=True):
                    target.copy_(value)


def _per_domain(x: Tensor, weight: Tensor, bias: Tensor, y: Tensor) -> Tensor:
    """Apply to each row of x [B, I] the layer (weight [D, O, I], bias [D, O]) of its domain y -> [B, O]."""
    domains = weight.shape[0]
    if domains == 1:
        return F.linear(x, weight[0], bias[0])
    if x.shape[0] <= domains:
        column = torch.bmm(weight.index_select(0, y), x[:, :, None])
        return column.squeeze(2) + bias.index_select(0, y)
    # More samples than domains: run each domain once on its own rows instead of copying its weights.
    order = torch.argsort(y, stable=True)
    counts = torch.bincount(y, minlength=domains).tolist()
    rows = torch.split(x.index_select(0, order), counts)
    layers = zip(rows, weight.unbind(0), bias.unbind(0), strict=True)
    parts = [F.linear(r, w, b) for r, w, b in layers if r.shape[0]]
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return torch.cat(parts).index_select(0, inverse)


def he_init(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Initialise every convolution and linear layer: N(0, 2 / fan_in) weights, zero biases.

    Instance norms keep weight 1 and bias 0 (`core/utils.py`).
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, DomainHeads):
                for k in range(module.depth):
                    weight, bias = module.layer(k)
                    weight.normal_(0.0, math.sqrt(2.0 / weight.shape[2]), generator=generator)
                    bias.zero_()
