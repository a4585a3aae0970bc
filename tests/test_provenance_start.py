"""What a result's provenance says does not depend on how its job was started."""

from pathlib import Path

import pytest
from repository import fabricate, settings_copy

from kdx2i.files import read_json
from kdx2i.suite import make_plan


@pytest.mark.parametrize("loaded", [False, True])
def test_provenance_of_what_computes_nothing_is_the_same_whether_pytorch_was_loaded(
    tmp_path: Path, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that starts warm has PyTorch loaded, and one that starts cold has not: its bytes must not tell."""
    monkeypatch.setattr("kdx2i.provenance.instructions", lambda: {"PyTorch": "AVX2"} if loaded else {})
    plan = make_plan(settings_copy(tmp_path), "open-smoke")
    leaf = plan.split("open-birds")
    fabricate(plan, leaf)
    assert read_json(leaf.provenance_path)["instructions"] == {}
