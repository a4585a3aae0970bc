"""How an architecture's weights start: the full method and its ablations. Torch-free.

The ablations are those of Figure 3(b), Appendix B.4 and Table 2.

The paper says in a clause each what its ablations leave out. `TransferReadings` are the ways to read those clauses: a
preset chooses among them under `transfers`, and what a transfer is follows from the choice.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Term = Literal["encoder", "style", "generator"]
ENCODERS: tuple[Term, ...] = ("encoder", "style")
GENERATOR: tuple[Term, ...] = ("generator",)
ALL: tuple[Term, ...] = (*ENCODERS, *GENERATOR)


class TransferReadings(BaseModel):
    """How a preset reads the ablations: the section `transfers` of its file, a switch of the register each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    discriminator: Literal["student", "random"] = Field(
        default="student", description="protocol entry i2i-discriminator-start"
    )
    l1_alignment: Literal["generator", "all"] = Field(default="generator", description="protocol entry ablation-l1")
    l1_discriminator: Literal["random", "kd", "student"] = Field(
        default="random", description="protocol entry ablation-l1-discriminator"
    )
    adversarial_alignment: Literal["none", "encoders"] = Field(
        default="none", description="protocol entry ablation-adversarial"
    )
    encoders_from_scratch: Literal["stage2", "stage1"] = Field(
        default="stage2", description="protocol entry b4-encoder-scratch"
    )
    ablation_diversity: Literal["none", "l1", "both"] = Field(
        default="none", description="protocol entry x2i-ablation-diversity"
    )


@dataclass(frozen=True)
class TransferSettings:
    """What one transfer keeps of the method.

    `label`: the bar's or row's name, after Figure 3(b), Appendix B.4 and Table 2.
    `distils`: there is a stage 1; without it ("No KD" in Figure 3(b)) stage 2 starts from random weights.
    `adversarial`: eq. (4); Figure 3(b) writes w-adv. with it and w/o-adv. without.
    `alignment`: which of eqs. (1) to (3) take part: `encoder` is eq. (1), `style` eq. (2), `generator` eq. (3), for
    text, speech and label maps eq. (6).
    `mixing`: style-mixed triplets (section 3.1); without them x2 and y are replaced by x1, KD* in Figure 3(b).
    `trains_discriminator`: stage 1 trains D_S by its side of eq. (4), whether or not the student learns from it.
    `reset_encoders`: content and style encoder start stage 2 from random weights, "from scratch" in Appendix B.4.
    `discriminator`: stage 2's starts as the student's, at random, or as that of the full method's student (`kd`).
    `student`: the transfer whose distilled student is used, None for its own.
    `condition`: what text, speech and label maps take for a condition in stage 1: that of S_E, or constants.
    `diversity`: for the same, eq. (7).
    `only`: the stage 1 (`kdx2i.distill.by_task`) that it changes, None where it means something in each.
    """

    label: str
    distils: bool = True
    adversarial: bool = True
    alignment: tuple[Term, ...] = ALL
    mixing: bool = True
    trains_discriminator: bool = True
    reset_encoders: bool = False
    discriminator: Literal["student", "random", "kd"] = "student"
    student: str | None = None
    condition: Literal["pseudo", "constant"] = "pseudo"
    diversity: bool = True
    only: str | None = None

    def changes(self) -> dict[str, Any]:
        """Return what the transfer changes in both stages, as JSON: all but its label and where it means something."""
        return {name: value for name, value in self._as_json().items() if name not in ("label", "only")}

    def first_stage(self) -> dict[str, Any]:
        """Return what the transfer changes in stage 1, as JSON."""
        names = ("adversarial", "alignment", "mixing", "trains_discriminator", "condition", "diversity")
        return {name: value for name, value in self._as_json().items() if name in names}

    def _as_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that `changes` or `first_stage` wrote, without a label; absent ones are the method's."""
        return cls("", **{**values, "alignment": tuple(values["alignment"])})


def read_transfers(readings: TransferReadings) -> dict[str, TransferSettings]:
    """Return the transfers by name, under these readings of the paper."""
    r = readings
    start = r.discriminator
    l1_terms = GENERATOR if r.l1_alignment == "generator" else ALL
    adversarial_terms = ENCODERS if r.adversarial_alignment == "encoders" else ()
    return {
        "scratch": TransferSettings("No KD", distils=False),
        "kd": TransferSettings("KD (w-L1, w-adv.)", discriminator=start),
        "kd-l1": TransferSettings(
            "KD (w-L1, w/o-adv.)",
            adversarial=False,
            alignment=l1_terms,
            trains_discriminator=r.l1_discriminator == "student",
            discriminator=r.l1_discriminator,
            diversity=r.ablation_diversity != "none",
        ),
        "kd-adv": TransferSettings(
            "KD (w/o-L1, w-adv.)",
            alignment=adversarial_terms,
            discriminator=start,
            diversity=r.ablation_diversity == "both",
        ),
        "kd-no-mixing": TransferSettings("KD* (w-L1, w-adv.)", mixing=False, discriminator=start, only="i2i"),
        "kd-constant-condition": TransferSettings("Ours †", condition="constant", discriminator=start, only="x2i"),
        "kd-no-diversity": TransferSettings("Ours ‡", diversity=False, discriminator=start, only="x2i"),
        "kd-encoder-scratch": _encoders_from_scratch(r),
    }


def _encoders_from_scratch(readings: TransferReadings) -> TransferSettings:
    """Return the transfer of Appendix B.4: encoders without a start (stage 2), or without a teacher (stage 1)."""
    label, start = "Encoders from scratch", readings.discriminator
    if readings.encoders_from_scratch == "stage1":
        return TransferSettings(label, alignment=GENERATOR, discriminator=start, only="i2i")
    # Stage 1 is that of `kd`: only what stage 2 starts from differs.
    return TransferSettings(label, reset_encoders=True, discriminator=start, student="kd", only="i2i")


TRANSFERS: dict[str, TransferSettings] = read_transfers(TransferReadings())
"""The transfers under the readings that hold where a preset says nothing."""
