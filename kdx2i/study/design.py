"""Which pairs each subject sees, in which order and on which sides: drawn once, so that answers need no names."""

import random
from typing import Literal

from pydantic import Field

from kdx2i.config import Strict
from kdx2i.config.study import StudyConfig
from kdx2i.files import sha256_json

NOISE = -1
"""Stands for noise in the place of a row: an attention check."""


class Trial(Strict):
    """One choice: two rows by index (0 is ours, `NOISE` noise), the request that both answer."""

    left: int
    right: int
    request: int

    @property
    def check(self) -> bool:
        """Whether it is an attention check."""
        return NOISE in (self.left, self.right)

    def chosen(self, side: Literal["left", "right"]) -> int:
        """Return the row on a side."""
        return self.left if side == "left" else self.right


class StudyKey(Strict):
    """What the page does not say: the rows by index, where their images lie, and each subject's trials.

    `study` names the design and the images; answers carry it.
    """

    format: Literal["kdx2i-user-study-1"] = "kdx2i-user-study-1"
    study: str = Field(min_length=16)
    preset: str
    config: StudyConfig
    rows: list[str]
    places: dict[str, str]
    targets: list[str]
    trials: list[list[Trial]]


def draw_trials(config: StudyConfig, requests: int) -> list[list[Trial]]:
    """Return the trials of every subject: each other row equally often beside ours (up to one), checks among them.

    A pair of a row and a request comes to a subject again only after all have come; sides are fair coins. Subjects
    draw from one seed each, so that more subjects change nothing for those before.
    """
    return [_subject(config, requests, random.Random(f"{config.seed}/{n}")) for n in range(config.subjects)]


def _subject(config: StudyConfig, requests: int, draw: random.Random) -> list[Trial]:
    rows = range(1, 1 + len(config.others))
    decks: dict[int, list[int]] = {row: [] for row in rows}
    turns: list[int] = []
    while len(turns) < config.pairs:
        turns += draw.sample(list(rows), len(rows))
    trials = []
    for row in turns[: config.pairs]:
        if not decks[row]:
            decks[row] = draw.sample(range(requests), requests)
        trials.append(_sided(0, row, decks[row].pop(), draw))
    for _ in range(config.checks):
        check = _sided(0, NOISE, draw.randrange(requests), draw)
        trials.insert(draw.randrange(len(trials) + 1), check)
    return trials


def _sided(first: int, second: int, request: int, draw: random.Random) -> Trial:
    left, right = (first, second) if draw.random() < 0.5 else (second, first)
    return Trial(left=left, right=right, request=request)


def study_name(config: StudyConfig, places: dict[str, str], pictures: list[str]) -> str:
    """Return the name of a study: a hash of its design and of every image that it shows."""
    return sha256_json({"config": config.model_dump(mode="json"), "places": places, "pictures": pictures})[:24]
