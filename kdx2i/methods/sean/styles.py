"""Style codes of training images, for images without a reference (`calculate_mean_style_code.py` of ZPdesu/SEAN)."""

import torch
from torch import Tensor, nn

KEPT = 64
"""Training images whose codes are kept."""
WINDOW = 1024
"""Images that the mean of a label is over, once it has been in so many."""


class StyleMemory(nn.Module):
    """The mean style code of each label over the last training images, and the codes of the last few of them.

    The official code takes means over all images after the training; here they follow the encoder during it, so that a
    checkpoint has them. They are zero before the first update.
    """

    counts: Tensor
    kept: Tensor
    seen: Tensor

    def __init__(self, labels: int, length: int) -> None:
        super().__init__()
        # A parameter that no optimiser has: as the encoder's weights, it is averaged where they are.
        self.means = nn.Parameter(torch.zeros(labels, length), requires_grad=False)
        self.register_buffer("counts", torch.zeros(labels))
        self.register_buffer("kept", torch.zeros(KEPT, labels, length))
        self.register_buffer("present", torch.zeros(KEPT, labels, dtype=torch.bool))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, codes: Tensor, present: Tensor) -> None:
        """Take in codes [B, K, S] of training images, each label where it is `present`, bool [B, K]."""
        codes, here = codes.float(), present.float()
        number = here.sum(0)
        self.counts.copy_((self.counts + number).clamp(max=WINDOW))
        batch_means = (codes * here[..., None]).sum(0) / number.clamp(min=1)[:, None]
        share = (number / self.counts.clamp(min=1)).clamp(max=1)
        self.means.lerp_(batch_means, share[:, None].expand_as(self.means))
        places = (self.seen + torch.arange(len(codes), device=codes.device)) % KEPT
        self.kept[places], self.present[places] = codes, present  # type: ignore[operator]
        self.seen += len(codes)

    def filled(self, codes: Tensor, present: Tensor) -> Tensor:
        """Return codes [B, K, S] with the means in place of the labels that are not `present`, bool [B, K]."""
        return torch.where(present[..., None], codes, self.means.to(codes.dtype))

    def draw(self, batch: int) -> Tensor:
        """Return the codes [B, K, S] of kept images, drawn from torch's global generator; absent labels get the means.

        The means where no image has been seen.
        """
        last = min(int(self.seen), KEPT)
        if not last:
            return self.means.expand(batch, -1, -1)
        chosen = torch.randint(last, (batch,)).to(self.kept.device)
        return self.filled(self.kept[chosen], self.present[chosen])  # type: ignore[index]
