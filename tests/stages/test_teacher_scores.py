"""Scores of a teacher: copies are found, and distances are those of the metrics."""

import torch

from kdx2i.stages.teacher_scores import memorisation


def drawings(count: int, seed: int) -> torch.Tensor:
    """Return coarse random uint8 drawings [count, 3, 64, 64]."""
    coarse = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    return coarse.to(torch.uint8).repeat_interleave(8, 2).repeat_interleave(8, 3)


def test_copies_and_mirrored_copies_are_found_and_new_drawings_are_not() -> None:
    real, new = drawings(80, 1), drawings(20, 2)
    assert memorisation(real[:20], real)["copies"] == 100
    assert memorisation(real[:20].flip(-1), real)["copies"] == 100
    assert memorisation(new, real)["copies"] <= 20
    half = memorisation(torch.cat([real[:10], new[:10]]), real)
    assert 50 <= half["copies"] <= 60
    assert half["samples_5th"] == 0


def test_a_drawing_is_not_its_own_neighbour() -> None:
    real = drawings(80, 3)
    away = memorisation(real, real)
    assert away["samples_median"] == 0
    assert away["drawings_5th"] > 0.1
    twice = memorisation(real, torch.cat([real, real]))
    assert twice["drawings_median"] == 0
