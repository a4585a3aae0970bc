"""How an architecture's weights start: the full method and its ablations (Figure 3(b), Appendix B.4)."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TransferSettings:
    """What one transfer keeps of the method.

    `label`: the bar's or row's name, after Figure 3(b) and Appendix B.4.
    `distils`: there is a stage 1; without it ("No KD" in Figure 3(b)) stage 2 starts from random weights.
    `adversarial`: eq. (4); Figure 3(b) writes w-adv. with it and w/o-adv. without.
    `alignment`: eqs. (1) to (3); Figure 3(b) writes w-L1 with them and w/o-L1 without.
    `mixing`: style-mixed triplets (section 3.1); without them x2 and y are replaced by x1, KD* in Figure 3(b).
    `reset_encoders`: content and style encoder start stage 2 from random weights, "from scratch" in Appendix B.4.
    `student`: the transfer whose distilled student is used, None for its own.
    """

    label: str
    distils: bool = True
    adversarial: bool = True
    alignment: bool = True
    mixing: bool = True
    reset_encoders: bool = False
    student: str | None = None

    def changes(self) -> dict[str, Any]:
        """Return what the transfer changes, as JSON: all but its label."""
        return {name: value for name, value in asdict(self).items() if name != "label"}


TRANSFERS: dict[str, TransferSettings] = {
    "scratch": TransferSettings("No KD", distils=False),
    "kd": TransferSettings("KD (w-L1, w-adv.)"),
    "kd-l1": TransferSettings("KD (w-L1, w/o-adv.)", adversarial=False),
    "kd-adv": TransferSettings("KD (w/o-L1, w-adv.)", alignment=False),
    "kd-no-mixing": TransferSettings("KD* (w-L1, w-adv.)", mixing=False),
    # Stage 1 is that of `kd`: only what stage 2 starts from differs (protocol entry b4-encoder-scratch).
    "kd-encoder-scratch": TransferSettings("Encoders from scratch", reset_encoders=True, student="kd"),
}
