"""The layers of BigGAN (`layers.py` of ajbrock/BigGAN-PyTorch), with the official names of weights and buffers.

Tensors are [B, C, H, W]; `y` [B, N] is what a conditional norm reads: class embedding and a chunk of z.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SN_EPS = 1e-6
BN_EPS = 1e-5
BN_MOMENTUM = 0.1


class SpectralNorm(nn.Module):
    """A weight divided by its largest singular value, estimated by one power iteration from `u0` in each forward.

    In evaluation the iteration runs too, only `u0` and `sv0` (a record that nothing reads) stay as they are.
    """

    weight: Tensor
    u0: Tensor
    sv0: Tensor
    sn_eps: float

    def start(self, outputs: int, eps: float) -> None:
        """Register the buffers of a weight with `outputs` rows."""
        self.sn_eps = eps
        self.register_buffer("u0", torch.randn(1, outputs))
        self.register_buffer("sv0", torch.ones(1))

    def normalised(self) -> Tensor:
        """Return the divided weight; gradients flow through the singular value, not through its vectors."""
        # A singular value in half precision would be off by a percent.
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            v = F.normalize((self.u0 @ matrix.detach()).squeeze(0), dim=0, eps=self.sn_eps)
            image = matrix @ v
            u = F.normalize(image.detach(), dim=0, eps=self.sn_eps)
            sigma = u @ image
            if self.training:
                with torch.no_grad():
                    self.u0.copy_(u[None])
                    self.sv0.copy_(sigma[None])
            return self.weight / sigma


class Conv(SpectralNorm, nn.Conv2d):
    """A convolution of 1 or 3 px that keeps the size, spectrally normalised."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True, eps: float = SN_EPS) -> None:
        nn.Conv2d.__init__(self, inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.start(outputs, eps)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H, W]."""
        return F.conv2d(x, self.normalised(), self.bias, padding=self.padding)


class Linear(SpectralNorm, nn.Linear):
    """A linear layer, spectrally normalised."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, eps: float = SN_EPS) -> None:
        nn.Linear.__init__(self, inputs, outputs, bias)
        self.start(outputs, eps)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I] -> [B, O]."""
        return F.linear(x, self.normalised(), self.bias)


class ClassEmbedding(SpectralNorm, nn.Embedding):
    """A table of class vectors, spectrally normalised; `u0` has one entry a class."""

    def __init__(self, classes: int, width: int, *, eps: float = SN_EPS) -> None:
        nn.Embedding.__init__(self, classes, width)
        self.start(classes, eps)

    def forward(self, y: Tensor) -> Tensor:
        """Classes int64 [B] -> [B, W]."""
        return F.embedding(y, self.normalised())


class BatchNorm(nn.Module):
    """A batch norm with one gain and bias a channel."""

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int, eps: float = BN_EPS) -> None:
        super().__init__()
        self.eps, self.momentum = eps, BN_MOMENTUM
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        return F.batch_norm(
            x, self.stored_mean, self.stored_var, self.gain, self.bias, self.training, self.momentum, self.eps
        )


class ConditionalBatchNorm(nn.Module):
    """A batch norm whose gain 1 + W_g y and bias W_b y follow the condition (`ccbn`)."""

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int, condition: int, eps: float = BN_EPS, sn_eps: float = SN_EPS) -> None:
        super().__init__()
        self.eps, self.momentum = eps, BN_MOMENTUM
        self.gain = Linear(condition, channels, bias=False, eps=sn_eps)
        self.bias = Linear(condition, channels, bias=False, eps=sn_eps)
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x [B, C, H, W], y [B, N] -> [B, C, H, W]."""
        plain = F.batch_norm(x, self.stored_mean, self.stored_var, None, None, self.training, self.momentum, self.eps)
        gain, bias = 1 + self.gain(y), self.bias(y)
        return torch.addcmul(bias[:, :, None, None], plain, gain[:, :, None, None])


class SelfAttention(nn.Module):
    """Self-attention with keys and values at half the size, added with a gain that starts at zero."""

    def __init__(self, channels: int, eps: float = SN_EPS) -> None:
        super().__init__()
        self.theta = Conv(channels, channels // 8, 1, bias=False, eps=eps)
        self.phi = Conv(channels, channels // 8, 1, bias=False, eps=eps)
        self.g = Conv(channels, channels // 2, 1, bias=False, eps=eps)
        self.o = Conv(channels // 2, channels, 1, bias=False, eps=eps)
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        queries = self.theta(x).flatten(2)
        keys, values = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.phi, self.g))
        weights = torch.bmm(queries.transpose(1, 2), keys).softmax(dim=-1)
        attended = torch.bmm(values, weights.transpose(1, 2)).reshape(len(x), -1, *x.shape[2:])
        result: Tensor = self.gamma * self.o(attended) + x
        return result


class GeneratorBlock(nn.Module):
    """A residual block that doubles the size (`GBlock`)."""

    def __init__(
        self, inputs: int, outputs: int, condition: int, bn_eps: float = BN_EPS, sn_eps: float = SN_EPS
    ) -> None:
        super().__init__()
        self.conv1 = Conv(inputs, outputs, eps=sn_eps)
        self.conv2 = Conv(outputs, outputs, eps=sn_eps)
        self.conv_sc = Conv(inputs, outputs, 1, eps=sn_eps)
        self.bn1 = ConditionalBatchNorm(inputs, condition, bn_eps, sn_eps)
        self.bn2 = ConditionalBatchNorm(outputs, condition, bn_eps, sn_eps)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x [B, I, H, W], y [B, N] -> [B, O, 2 H, 2 W]."""
        h = self.conv1(F.interpolate(F.relu(self.bn1(x, y), inplace=True), scale_factor=2))
        h = self.conv2(F.relu(self.bn2(h, y), inplace=True))
        # Officially doubled first; a 1x1 convolution commutes with that and is four times cheaper before.
        result: Tensor = h + F.interpolate(self.conv_sc(x), scale_factor=2)
        return result


class DiscriminatorBlock(nn.Module):
    """A residual block that may halve the size (`DBlock`).

    `hidden`: channels between its convolutions (all of `outputs` in a wide discriminator).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: int | None = None,
        first: bool = False,
        down: bool = False,
        eps: float = SN_EPS,
    ) -> None:
        super().__init__()
        hidden = outputs if hidden is None else hidden
        self.first, self.down = first, down
        self.conv1 = Conv(inputs, hidden, eps=eps)
        self.conv2 = Conv(hidden, outputs, eps=eps)
        self.conv_sc = Conv(inputs, outputs, 1, eps=eps) if down or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H, W], or half of that size."""
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x)), inplace=True))
        if self.down:
            # Officially the 1x1 convolution comes first in all blocks but one; it commutes with the mean.
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        result: Tensor = h + (x if self.conv_sc is None else self.conv_sc(x))
        return result
