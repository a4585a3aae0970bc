"""The metrics of the tables: names, direction, and how their numbers are written."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class Quantity:
    """One metric: its title in a heading, which direction is better, and the digits after the point.

    `biased`: its expectation depends on the number of images (Chong and Forsyth 2020), so that counts
    alone can move it.
    """

    name: str
    title: str
    direction: Direction
    digits: int
    biased: bool = False

    @property
    def arrow(self) -> str:
        """The arrow of a heading: up where higher is better."""
        return "↑" if self.direction == "higher" else "↓"

    @property
    def heading(self) -> str:
        """The heading of the metric's column."""
        return f"{self.title} {self.arrow}"

    def text(self, value: float) -> str:
        """Write a value with the metric's digits; a value that rounds to zero has no sign."""
        written = f"{value:.{self.digits}f}"
        return written.lstrip("-") if float(written) == 0 else written


QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity("mKIDx100", "mKID×100", "lower", 2),
        Quantity("mFID", "mFID", "lower", 1, biased=True),
        Quantity("RC", "RC %", "higher", 1),
        Quantity("FC", "FC %", "higher", 1),
        Quantity("FID", "FID", "lower", 2, biased=True),
        Quantity("FIDinf", "FID∞", "lower", 2),
        Quantity("KIDx100", "KID×100", "lower", 2),
        Quantity("IS", "IS", "higher", 2, biased=True),
        Quantity("LPIPS", "LPIPS", "higher", 3),
        Quantity("mIoU", "mIoU %", "higher", 1),
    )
}


def goodness(metric: str, value: float) -> float:
    """Return the value with the sign that makes larger better."""
    return value if QUANTITIES[metric].direction == "higher" else -value
