"""What published code does to an image before the network sees it: a resize and a normalisation, by one name.

Not every network was published with every one: `kdx2i.metrics.protocols.FEATURES` says which go together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kdx2i.metrics.extractors.resize import RESIZES, resize_bilinear, resize_corners, resize_pillow

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """A resize of (3, H, W) to (3, S, S) in [0, 255], and the normalisation (grey level - mean) / deviation.

    Without `mean` and `deviation` (one a channel) the network's own is taken. `twice`: images are first brought to the
    size of the generated ones, by the same resize.
    """

    resize: Callable[[Tensor, int], Tensor]
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    twice: bool = False

    def normalise(self, prepared: Tensor, mean: float, deviation: float) -> Tensor:
        """Normalise resized images (B, 3, S, S) in place; `mean` and `deviation` are the network's own."""
        if self.mean is None or self.deviation is None:
            return prepared.sub_(mean).div_(deviation)
        means, deviations = (
            torch.tensor(values, device=prepared.device).view(3, 1, 1) for values in (self.mean, self.deviation)
        )
        return prepared.sub_(means).div_(deviations)


_MEAN, _DEVIATION = (tuple(255.0 * share for share in shares) for shares in (IMAGENET_MEAN, IMAGENET_DEVIATION))
# x (s / 0.5) + (m - 0.5) / 0.5 of x in [0, 1], which would bring an ImageNet-normalised x back to [-1, 1].
_SCALE_2018 = tuple(127.5 / deviation for deviation in IMAGENET_DEVIATION)
_MEAN_2018 = tuple((1.0 - 2.0 * mean) * scale for mean, scale in zip(IMAGENET_MEAN, _SCALE_2018, strict=True))
_HALF = (127.5, 127.5, 127.5)

PREPROCESSINGS: dict[str, Preprocessing] = {
    **{name: Preprocessing(resize) for name, resize in RESIZES.items()},
    # mseitzer/pytorch-fid since 2019-02-16: 2 x - 1 of x in [0, 1].
    "pytorch-fid": Preprocessing(resize_bilinear, _HALF, _HALF),
    # mseitzer/pytorch-fid from 2018-02-10 to 2019-02-16.
    "pytorch-fid-2018": Preprocessing(resize_bilinear, _MEAN_2018, _SCALE_2018),
    # clovaai/stargan-v2, core/data_loader.py, get_eval_loader(imagenet_normalize=True).
    "stargan-v2": Preprocessing(resize_pillow, _MEAN, _DEVIATION, twice=True),
    # yaxingwang/DeepI2I, DeepI2I_BigGAN/inception_utils.py, WrapInception.
    "deepi2i": Preprocessing(resize_corners, _MEAN, _DEVIATION),
}
