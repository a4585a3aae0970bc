"""BiSeNet of zllrunning/face-parsing.PyTorch (model.py, resnet.py, loss.py): the public face parser behind mIoU.

The paper names no parser; this one is the usual choice for CelebAMask-HQ. It was trained on all 30,000 images, the
test images included, so its mIoU is optimistic for every method alike. Its official weights are
`79999_iter.pth`, a state dict; the names of the modules here are those of its keys.
"""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor, nn

from kdx2i.bounds import WEIGHTS_BYTES
from kdx2i.errors import UserError
from kdx2i.foreign import read_plain
from kdx2i.metrics.segmentation.label_orders import FACE_PARSING

INPUT_SIZE = 512
VARIABLE = "KDX2I_BISENET_WEIGHTS"
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU; the size stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        return functional.relu(self.bn(self.conv(x)))


class AttentionRefinement(nn.Module):
    """A 3x3 block whose channels are weighted by a gate of their global average."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        x = self.conv(x)
        gate: Tensor = self.bn_atten(self.conv_atten(x.mean((2, 3), keepdim=True))).sigmoid()
        return x * gate


class ContextPath(nn.Module):
    """ResNet-18 and what brings its coarse features back to 1/16 and 1/8 of the size."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet18

        self.resnet = resnet18(weights=None)
        del self.resnet.fc  # the classifier is not part of the official state dict
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.conv_head32 = ConvBNReLU(128, 128)
        self.conv_head16 = ConvBNReLU(128, 128)
        self.conv_avg = ConvBNReLU(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return feat8 (B, 128, ...), and the refined context at 1/8 and at 1/16 (B, 128, ...)."""
        net = self.resnet
        x = net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))
        feat8 = net.layer2(x)
        feat16 = net.layer3(feat8)
        feat32 = net.layer4(feat16)
        coarse = self.arm32(feat32) + self.conv_avg(feat32.mean((2, 3), keepdim=True))
        at16 = self.conv_head32(functional.interpolate(coarse, size=feat16.shape[2:], mode="nearest"))
        fine = self.arm16(feat16) + at16
        at8 = self.conv_head16(functional.interpolate(fine, size=feat8.shape[2:], mode="nearest"))
        return feat8, at8, at16


class FeatureFusion(nn.Module):
    """Joins detail (feat8) and context, and adds a gated copy of the result to it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(inputs, outputs, 1)
        self.conv1 = nn.Conv2d(outputs, outputs // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs // 4, outputs, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        x: Tensor = self.convblk(torch.cat([detail, context], dim=1))
        gate: Tensor = self.conv2(functional.relu(self.conv1(x.mean((2, 3), keepdim=True)))).sigmoid()
        return x * gate + x


class Head(nn.Module):
    """Logits of the classes at the resolution of the features."""

    def __init__(self, inputs: int, middle: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, middle)
        self.conv_out = nn.Conv2d(middle, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, classes, H, W)."""
        logits: Tensor = self.conv_out(self.conv(x))
        return logits


class BiSeNet(nn.Module):
    """The face parser: 13.3 M parameters with 19 classes; the spatial path of the BiSeNet paper is left out."""

    def __init__(self, n_classes: int = len(FACE_PARSING)) -> None:
        super().__init__()
        self.cp = ContextPath()
        self.ffm = FeatureFusion(256, 256)
        self.conv_out = Head(256, 256, n_classes)
        self.conv_out16 = Head(128, 64, n_classes)
        self.conv_out32 = Head(128, 64, n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits (B, classes, H, W) of images (B, 3, H, W), and those of the two auxiliary heads.

        The names of the heads are one step too coarse, as in the official code: `conv_out16` reads the features at
        1/8, `conv_out32` those at 1/16.
        """
        detail, at8, at16 = self.cp(x)
        maps = (self.conv_out(self.ffm(detail, at8)), self.conv_out16(at8), self.conv_out32(at16))
        sized = (functional.interpolate(m, size=x.shape[2:], mode="bilinear", align_corners=True) for m in maps)
        out, out16, out32 = sized
        return out, out16, out32


def ohem_loss(logits: Tensor, labels: Tensor, threshold: float, least: int, ignore: int = -100) -> Tensor:
    """Return the mean cross-entropy of the hard pixels of logits (B, C, H, W), labels int64 (B, H, W).

    Hard are the pixels whose loss exceeds -log(threshold); where there are no more than `least` of them, the
    `least` hardest ones are taken instead (online hard example mining, loss.py).
    """
    # One row a pixel: the two-dimensional form adds in no fixed order on a GPU.
    rows = logits.permute(0, 2, 3, 1).flatten(0, 2)
    losses = functional.cross_entropy(rows, labels.flatten(), ignore_index=ignore, reduction="none")
    hard = losses[losses > -float(np.log(threshold))]
    return hard.mean() if hard.numel() > least else losses.topk(min(least, losses.numel())).values.mean()


class FaceParser:
    """The parser as a `kdx2i.metrics.segmentation.mean_iou.Segmenter`."""

    name = "bisenet-face-parsing"
    classes = FACE_PARSING

    def __init__(self, network: BiSeNet, sha256: str, device: torch.device) -> None:
        self.sha256 = sha256
        self._network = network.to(device).eval().requires_grad_(False)
        self._device = device

    def segment(self, images: Tensor) -> Tensor:
        """Return label maps uint8 (B, 512, 512) of uint8 images (B, 3, H, W), numbered like `FACE_PARSING`.

        As the official test.py: Pillow's bilinear resize to 512 x 512 (part of the parser), ImageNet's mean and
        deviation, the largest logit.
        """
        mean, deviation = (torch.tensor(v, device=self._device).view(3, 1, 1) for v in (_MEAN, _DEVIATION))
        maps = []
        for image in images:
            picture = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
            resized = np.array(picture.resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR))
            x = torch.from_numpy(resized).to(self._device).permute(2, 0, 1).float() / 255.0
            with torch.no_grad(), torch.backends.cudnn.flags(True, deterministic=True, allow_tf32=False):
                out, _, _ = self._network(((x - mean) / deviation)[None])
            maps.append(out[0].argmax(0).to("cpu", torch.uint8))
        return torch.stack(maps) if maps else torch.zeros(0, INPUT_SIZE, INPUT_SIZE, dtype=torch.uint8)


def load_face_parser(
    weights_path: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu"
) -> FaceParser:
    """Return the face parser with weights in the layout of `79999_iter.pth`, read as tensors only.

    The file is `weights_path`, else that of the variable KDX2I_BISENET_WEIGHTS. Its author publishes no checksum:
    the one of the file in use is recorded with every value. `UserError` for no file or another content.
    """
    given = weights_path or os.environ.get(VARIABLE)
    advice = (
        "download 79999_iter.pth from the link in the readme of https://github.com/zllrunning/face-parsing.PyTorch "
        f"and name it in {VARIABLE}"
    )
    if not given:
        raise UserError(f"the weights of the face parser BiSeNet are not on this machine; {advice}", whole=True)
    try:
        data = read_plain(Path(given), WEIGHTS_BYTES)
    except UserError:
        raise UserError(f"the weights file {given} cannot be read; {advice}", whole=True) from None
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("no state dict")
        head = state["conv_out.conv_out.weight"]
        if head.shape[0] != len(FACE_PARSING):
            raise ValueError("another number of classes")
        network = BiSeNet()
        network.load_state_dict(state)
    except Exception as error:  # noqa: BLE001 (PyTorch's reader raises anything on broken bytes)
        kind = type(error).__name__
        raise UserError(
            f"{given} does not hold the weights of the face parser BiSeNet ({kind}); {advice}", whole=True
        ) from None
    return FaceParser(network, hashlib.sha256(data).hexdigest(), torch.device(device))
