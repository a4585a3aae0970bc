"""The image encoder (`CNN_ENCODER`, `code/model.py` of taoxugit/AttnGAN), with the official parameter names.

Images are [B, 3, H, W] in [-1, 1] and get no other normalisation: that is what the trunk's weights were trained with.
"""

import torch.nn.functional as F
from torch import Tensor, nn

INPUT = 299
REGIONS, POOLED = 768, 2048
STAGES = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "pool", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "pool"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)
"""Inception v3 (torchvision) from input to pooling; `pool` is 3 x 3 max pooling of stride 2."""


class ImageEncoder(nn.Module):
    """Any image encoder: a frozen or trained trunk, whose `maps` the two `emb_` layers bring to `nef` numbers."""

    trained_trunk = False

    def __init__(self, nef: int, regions: int, pooled: int) -> None:
        super().__init__()
        self.nef = nef
        self.emb_features = nn.Conv2d(regions, nef, 1, bias=False)
        self.emb_cnn_code = nn.Linear(pooled, nef)
        nn.init.uniform_(self.emb_features.weight, -0.1, 0.1)
        nn.init.uniform_(self.emb_cnn_code.weight, -0.1, 0.1)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] in [-1, 1] -> maps [B, C, h, w] of the regions and last maps [B, C', h', w']."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] in [-1, 1] -> regions [B, nef, h, w] and codes [B, nef]."""
        regions, last = self.maps(x)
        return self.emb_features(regions), self.emb_cnn_code(last.mean((2, 3)))

    def head(self) -> list[nn.Parameter]:
        """Return the parameters of the two layers on top of the trunk."""
        return [*self.emb_features.parameters(), *self.emb_cnn_code.parameters()]

    def freeze_trunk(self) -> None:
        """Let only the two layers on top learn, as the official encoder does from the start."""
        self.requires_grad_(False)
        for parameter in self.head():
            parameter.requires_grad_(True)


class CNNEncoder(ImageEncoder):
    """Inception v3 up to Mixed_6e (17 x 17 regions) and Mixed_7c; its trunk is frozen and starts without weights."""

    def __init__(self, nef: int = 256) -> None:
        from torchvision.models.inception import Inception3  # half a second, for this trunk alone

        super().__init__(nef, REGIONS, POOLED)
        network = Inception3(aux_logits=False, init_weights=False)
        for name in STAGES:
            if name != "pool":
                self.add_module(name, network.get_submodule(name))
        self.freeze_trunk()

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images of any size, resized to 299 px (bilinear, no aligned corners) -> [B, 768, 17, 17], [B, 2048, 8, 8]."""
        x = F.interpolate(x, size=(INPUT, INPUT), mode="bilinear", align_corners=False)
        regions = x
        for name in STAGES:
            x = F.max_pool2d(x, 3, 2) if name == "pool" else self.get_submodule(name)(x)
            regions = x if name == "Mixed_6e" else regions
        return regions, x

    def load_trunk(self, state: dict[str, Tensor]) -> None:
        """Take the trunk's tensors from torchvision's Inception, which has more; `KeyError` where one is missing."""
        own = {key: value for key, value in self.state_dict().items() if not key.startswith("emb_")}
        taken = {key: state[key] if key in state else _counter(key, value) for key, value in own.items()}
        self.load_state_dict(taken, strict=False)


def _counter(key: str, value: Tensor) -> Tensor:
    """Return a counter of batches, which files of before PyTorch 0.4.1 lack; `KeyError` for any other tensor."""
    if not key.endswith("num_batches_tracked"):
        raise KeyError(key)
    return value
