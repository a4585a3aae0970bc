"""What the scorer of a leaf reads, and onto which device."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kdx2i.stages import leaf_scorer


def test_the_classifier_of_rc_is_loaded_where_the_evaluation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(leaf_scorer, "load_classifier", lambda path, device: loaded.append((path.name, device)))
    monkeypatch.setattr(leaf_scorer, "run_scorer", lambda *_, **__: None)
    plan: Any = SimpleNamespace(root=Path(), results=Path("results"), feature_networks=())
    leaf: Any = SimpleNamespace(inputs={"classifier": SimpleNamespace(file=Path)}, spec=None)
    scoring: Any = SimpleNamespace(real=None, task=SimpleNamespace(classes=[]))
    settings: Any = SimpleNamespace(extractor="open-drawings")
    leaf_scorer.scorer_of(plan, leaf, scoring, settings, torch.device("cuda"))
    assert loaded == [("classifier.safetensors", torch.device("cuda"))]
