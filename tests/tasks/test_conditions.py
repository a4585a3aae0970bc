"""What a model is given: conditions that contradict themselves are refused."""

import pytest
import torch

from kdx2i.tasks.conditions import TranslationCondition


def test_a_guidance_by_references_needs_them() -> None:
    sources, targets = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])
    assert TranslationCondition(sources, targets, "latent").references is None
    assert TranslationCondition(sources, targets, "reference", sources).references is sources
    with pytest.raises(ValueError, match="the guidance `reference` lacks its reference images"):
        TranslationCondition(sources, targets, "reference")


def test_a_condition_moves_as_a_whole() -> None:
    sources, targets = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])
    meta = torch.device("meta")
    moved = TranslationCondition(sources, targets, "reference", sources).to(meta)
    assert moved.references is not None and moved.guidance == "reference"
    assert {moved.sources.device, moved.targets.device, moved.references.device} == {meta}
    assert TranslationCondition(sources, targets, "latent").to(meta).references is None
