"""The building blocks of SSA-GAN (`model.py` of wtliao/text2image at 3063e27), with the official parameter names.

Conditions are [B, D]: sentence vectors or, in stage 1, pseudo-conditions of the same width. Masks are [B, 1, H, W] in
[0, 1]. Batch norm is PyTorch's, which the official one is on one GPU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASK_WIDTH = 100


class ConditionMlp(nn.Module):
    """Two linear layers with a ReLU between; the second starts at zero, so that the text has no effect at first."""

    def __init__(self, condition: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(condition, hidden), nn.Linear(hidden, channels)
        nn.init.zeros_(self.linear2.weight)
        nn.init.zeros_(self.linear2.bias)

    def forward(self, c: Tensor) -> Tensor:
        """[B, D] -> [B, C]."""
        result: Tensor = self.linear2(F.relu(self.linear1(c)))
        return result


class SemanticSpatialNorm(nn.Module):
    """`affine`: batch norm without parameters of its own, then (1 + mask * gamma(c)) * x + mask * beta(c)."""

    def __init__(self, channels: int, condition: int, hidden: int) -> None:
        super().__init__()
        self.batch_norm2d = nn.BatchNorm2d(channels, affine=False)
        self.fc_gamma = ConditionMlp(condition, hidden, channels)
        self.fc_beta = ConditionMlp(condition, hidden, channels)

    def forward(self, x: Tensor, c: Tensor, mask: Tensor) -> Tensor:
        """[B, C, H, W], [B, D] and [B, 1, H, W] -> [B, C, H, W]."""
        gamma, beta = self.fc_gamma(c)[:, :, None, None], self.fc_beta(c)[:, :, None, None]
        normal = self.batch_norm2d(x)
        result: Tensor = (1 + mask * gamma) * normal + mask * beta
        return result


def mask_head(channels: int) -> nn.Sequential:
    """Return the layers that predict the logits of a mask: [B, C, H, W] -> [B, 1, H, W]."""
    return nn.Sequential(
        nn.Conv2d(channels, MASK_WIDTH, 3, 1, 1), nn.BatchNorm2d(MASK_WIDTH), nn.ReLU(), nn.Conv2d(MASK_WIDTH, 1, 1)
    )


class GeneratorBlock(nn.Module):
    """`G_Block`: shortcut + gamma * residual, with gamma a learned number that starts at zero."""

    def __init__(self, inputs: int, outputs: int, condition: int, hidden: int, *, predict_mask: bool = True) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.c1, self.c2 = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.affine0 = SemanticSpatialNorm(inputs, condition, hidden)
        self.affine2 = SemanticSpatialNorm(outputs, condition, hidden)
        self.c_sc = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None
        self.conv_mask = mask_head(outputs) if predict_mask else None

    def shortcut(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H, W]."""
        result: Tensor = x if self.c_sc is None else self.c_sc(x)
        return result

    def residual(self, x: Tensor, c: Tensor, mask: Tensor) -> Tensor:
        """[B, I, H, W], [B, D] and [B, 1, H, W] -> [B, O, H, W]; both norms use the one mask."""
        x = self.c1(F.relu(self.affine0(x, c, mask)))
        result: Tensor = self.c2(F.relu(self.affine2(x, c, mask)))
        return result

    def forward(self, x: Tensor, c: Tensor, mask: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the output [B, O, H, W] and the logits [B, 1, H, W] of the next mask, None where none is predicted.

        `added` [B, O, H, W] belongs to the output, from which the mask is predicted.
        """
        out = self.shortcut(x) + self.gamma * self.residual(x, c, mask)
        out = out if added is None else out + added
        return out, None if self.conv_mask is None else self.conv_mask(out)


class DiscriminatorBlock(nn.Module):
    """`resD`: half the resolution; shortcut + gamma * residual. `conv_s` is there also where it is never used."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.conv_r = nn.Sequential(
            nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.conv_s = nn.Conv2d(inputs, outputs, 1)
        self.learned_shortcut = inputs != outputs

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H / 2, W / 2]."""
        shortcut = F.avg_pool2d(self.conv_s(x) if self.learned_shortcut else x, 2)
        result: Tensor = shortcut + self.gamma * self.conv_r(x)
        return result


class ConditionHead(nn.Module):
    """`D_GET_LOGITS`: features and the condition, repeated over their 4 x 4 positions, to one logit."""

    def __init__(self, features: int, condition: int, hidden: int) -> None:
        super().__init__()
        self.joint_conv = nn.Sequential(
            nn.Conv2d(features + condition, hidden, 3, 1, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(hidden, 1, 4, 1, 0, bias=False),
        )

    def forward(self, features: Tensor, c: Tensor) -> Tensor:
        """[B, F, 4, 4] and [B, D] -> raw logits [B, 1, 1, 1]."""
        spread = c[:, :, None, None].expand(-1, -1, *features.shape[2:])
        result: Tensor = self.joint_conv(torch.cat([features, spread], 1))
        return result
