"""`kdx2i evaluate --all-protocols` on a run: the same images as its evaluation, and what compare makes of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from repository import fabricate, settings_copy
from torch import Tensor

from kdx2i.cli import main
from kdx2i.files import read_json
from kdx2i.metrics.protocols import DEPENDS, protocols
from kdx2i.plan import Leaf
from kdx2i.suite import make_plan
from kdx2i.tasks.conditions import TranslationCondition

RUN = ["--dataset", "open-birds", "--architecture", "stargan_v2", "--transfer", "scratch", "--resolution", "32"]
EVALUATE = ["evaluate", *RUN, "--mode", "latent", "--preset", "open-smoke"]


class Painter:
    """In the place of a trained method: references behind noise from torch's global generator."""

    def generate(self, condition: TranslationCondition) -> Tensor:
        assert condition.references is not None
        return (condition.references + 0.5 * torch.randn(condition.references.shape)).clamp(-1, 1)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaf]:
    """A run whose split and classifier are real, evaluated by `kdx2i evaluate`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _evaluation(tmp_path_factory.mktemp("root"), monkeypatch)


def _evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leaf:
    monkeypatch.setenv("KDX2I_ROOT", str(settings_copy(tmp_path)))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights"))
    monkeypatch.delenv("KDX2I_INCEPTION_WEIGHTS", raising=False)
    monkeypatch.setattr("kdx2i.stages.evaluate.load_method", lambda *_: Painter())
    plan = make_plan(tmp_path, "open-smoke")
    assert main(["split", "--dataset", "open-birds", "--preset", "open-smoke"]) == 0
    assert main(["classifier", *RUN[:2], *RUN[6:], "--preset", "open-smoke"]) == 0
    fabricate(plan, plan.run("open-birds", "stargan_v2", "scratch", 32, 0))
    assert main(EVALUATE) == 0
    assert main([*EVALUATE, "--all-protocols"]) == 0
    return plan.evaluation("open-birds", "stargan_v2", "scratch", 32, 0, "latent")


def test_a_run_is_scored_under_every_protocol(evaluation: Leaf, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EVALUATE, "--all-protocols"]) == 0
    assert "The same images under every registered protocol" in capsys.readouterr().out
    document = read_json(evaluation.folder / "protocols.json")
    assert document["identity"] == evaluation.identity
    assert list(document["not_computed"]) == ["inception-v3-compat", "inception-v3-torchvision"]
    measurements = document["measurements"]
    for metric in DEPENDS:
        here = ("efficientnet-lite0", "open-drawings")
        expected = [protocol for protocol in protocols([metric]) if protocol["extractor"] in here]
        choices = [{name: m[name] for name in DEPENDS[metric]} for m in measurements if m["metric"] == metric]
        assert len(choices) == len(expected)
        assert all(choices.count(protocol) == 1 for protocol in expected)

    def entry(metric: str, **choices: str) -> dict[str, Any]:
        own = {"extractor": "open-drawings", "preprocessing": "clean", "generated": "all"}
        choice = {"metric": metric, **own, **choices}
        (only,) = [m for m in measurements if choice.items() <= m.items()]
        return only

    def value(metric: str, **choices: str) -> float:
        return entry(metric, **choices)["value"]

    # The protocol of the preset gives the numbers of its evaluation: the images are the same.
    values = read_json(evaluation.file("metrics.json"))["values"]
    assert value("mFID", real="all") == pytest.approx(values["mFID"]["value"], rel=1e-6)
    assert value("mKIDx100", real="all", kid="full-set") == pytest.approx(values["mKIDx100"]["value"], rel=1e-6)
    assert value("KIDx100", real="test", kid="full-set") == pytest.approx(values["KIDx100"]["value"], rel=1e-6)
    assert value("RC") == pytest.approx(values["RC"]["value"])
    assert value("FC") == pytest.approx(values["FC"]["value"])
    parts = [entry("FID", real=name)["n_real"] for name in ("train", "test", "all")]
    assert parts[0] + parts[1] == parts[2]
    assert entry("FID", real="all", generated="half")["n_generated"] * 2 == entry("FID", real="all")["n_generated"]
    # One generated image a class is too few for a class-wise distance, and that is said.
    assert entry("mFID", real="all", generated="half")["value"] is None
    reason = entry("mFID", real="all", generated="half")["reason"]
    assert "has 1 generated and" in reason and "(8 such classes)" in reason


def test_a_second_call_gives_the_same_bytes_and_compare_reads_them(
    evaluation: Leaf, capsys: pytest.CaptureFixture[str]
) -> None:
    path = evaluation.folder / "protocols.json"
    first = path.read_bytes()
    assert main([*EVALUATE, "--all-protocols"]) == 0
    assert path.read_bytes() == first
    capsys.readouterr()
    assert main(["compare", "--infer-protocol", "table1", "--preset", "open-smoke"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Nothing can be inferred about the published protocol: open-birds stands in for birds" in shown
    assert "but there is only 1 evaluation with both numbers" in shown
