"""`kdx2i compare --infer-protocol` on made-up evaluations, through the command."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT, settings_copy

from kdx2i.cli import main
from kdx2i.config import load_protocol
from kdx2i.files import read_json, write_json
from kdx2i.metrics.protocols import DEPENDS, DIMENSIONS, FEATURES, REGISTER, by_choices, protocol_name, protocols, under
from kdx2i.plan import Plan
from kdx2i.stages.infer import FILE, FORMAT, run
from kdx2i.suite import make_plan
from kdx2i.tables.published import CellName, read_published

METRICS = ("mFID", "mKIDx100", "RC", "FC")
FACTORS = {"inception-v3-compat": 1.0, "efficientnet-lite0": 0.3, "clean": 1.0, "tf1": 1.2, "all": 1.0, "half": 1.1}
FACTORS |= {"open-drawings": 0.07}
FACTORS |= {"train": 1.35, "test": 1.6, "full-set": 1.0, "torch-fidelity": 1.05, "clean-fid": 0.94}
FACTORS |= {"inception-v3-torchvision": 0.6, "pytorch-fid": 1.12, "pytorch-fid-2018": 0.8, "stargan-v2": 0.9}
FACTORS |= {"deepi2i": 0.85, "exact": 1.0, "newton-schulz": 1.02}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDX2I_ROOT", str(settings_copy(tmp_path)))
    return tmp_path


def measured(value: Callable[[str, float], float], **truth: str) -> list[dict[str, Any]]:
    """Every measurement of an evaluation whose value under the protocol `truth` is `value(metric, 1.0)`."""
    measurements = []
    for metric in METRICS:
        for protocol in protocols([metric]):
            factors = [FACTORS[choice] / FACTORS[truth.get(name, choice)] for name, choice in protocol.items()]
            measurements.append({"metric": metric, **protocol, "value": value(metric, math.prod(factors))})
    return measurements


def fabricate(plan: Plan, *, skip: tuple[str, ...] = (), identity: str = "", **truth: str) -> None:
    """Write protocols.json beside every evaluation of table 1: the printed numbers, made under `truth`."""
    published = read_published(plan.root, "table1")
    for cell in plan.table("table1").cells:
        for leaf in cell.leaves:

            def value(metric: str, factor: float, cell: Any = cell) -> float:
                printed = published[CellName(cell.part, cell.dataset, cell.row.label, metric)]
                return float(printed.value) * factor

            measurements = [m for m in measured(value, **truth) if m["extractor"] not in skip]
            document = {"format": FORMAT, "identity": identity or leaf.identity, "measurements": measurements}
            not_computed = dict.fromkeys(skip, "its weights are not on this machine")
            write_json(leaf.folder / FILE, {**document, "not_computed": not_computed})


def test_the_registered_protocols_are_the_alternatives_of_the_register() -> None:
    register = {entry.id: entry for entry in load_protocol(ROOT).entries}
    for dimension, entry in REGISTER.items():
        if dimension != "generated":
            assert set(DIMENSIONS[dimension]) == set(register[entry].alternatives)
        assert "evaluate" in register[entry].affects


def test_only_what_a_metric_depends_on_makes_protocols() -> None:
    assert len(protocols(["RC"])) == 2 * len(FEATURES) == 22
    assert len(protocols(["mFID", "RC"])) == 3 * 2 * (len(FEATURES) + 1) == 72
    assert len(protocols(["mFID", "mKIDx100"])) == 3 * 72
    assert protocols(["mIoU"]) == []
    names = [protocol_name(protocol) for protocol in protocols(DEPENDS)]
    assert len(set(names)) == len(names) == 3 * 2 * 3 * (7 * 3 + 3 + 2)
    assert names[0] == "inception-v3-compat/clean/real-all/generated-all/kid-full-set/is-torch-fidelity"


def test_what_was_published_together_stays_together() -> None:
    every = protocols(DEPENDS)
    assert {protocol["preprocessing"] for protocol in every} == set(DIMENSIONS["preprocessing"])
    assert {protocol["extractor"] for protocol in every} == set(DIMENSIONS["extractor"])
    for choice in ({"fid": "newton-schulz"}, {"is": "deepi2i"}, {"preprocessing": "stargan-v2"}):
        with_it = [protocol for protocol in every if choice.items() <= protocol.items()]
        assert with_it
        assert {protocol["extractor"] for protocol in with_it} == {"inception-v3-torchvision"}
    assert {p["preprocessing"] for p in every if p["fid"] == "newton-schulz"} == {"deepi2i"}


def test_a_measurement_holds_for_every_protocol_that_it_does_not_depend_on() -> None:
    conclusion = by_choices(measured(lambda metric, factor: factor))
    for protocol in protocols(METRICS):
        values = under(protocol, conclusion)
        assert set(values) == set(METRICS)
        assert values["RC"]["generated"] == protocol["generated"]
        assert values["mKIDx100"]["kid"] == protocol["kid"]
    assert "mFID" not in under({"extractor": "another"}, conclusion)


def test_the_protocol_of_the_papers_data_is_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(root, "paper")
    truth = {"extractor": "inception-v3-compat", "preprocessing": "tf1", "real": "train", "generated": "half"}
    fabricate(plan, **truth, kid="torch-fidelity")
    conclusion = run(plan, "table1")
    assert conclusion.conditions == ()
    winner = conclusion.inference.ranking[0].protocol
    assert winner == "inception-v3-compat/tf1/real-train/generated-half/kid-torch-fidelity"
    assert conclusion.inference.verdict == "clear"
    assert main(["compare", "--infer-protocol", "table1", "--preset", "paper"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{winner} fits best, before" in shown
    assert "Nothing can be inferred" not in shown


def test_stand_in_data_say_nothing_about_the_paper(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(root, "open-smoke")
    fabricate(plan, skip=("inception-v3-compat", "inception-v3-torchvision"))
    assert main(["compare", "table1", "--infer-protocol", "--preset", "open-smoke"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Nothing can be inferred about the published protocol: open-birds stands in for birds" in shown
    assert "The ranking below only demonstrates the method." in shown
    assert "demonstration only: " in shown
    assert "efficientnet-lite0/clean/real-all/generated-all/kid-full-set" in shown
    assert "not computed: inception-v3-compat: its weights are not on this machine" in shown
    assert "not computed: inception-v3-torchvision: its weights are not on this machine" in shown


def test_json_says_too_that_nothing_can_be_inferred(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(root, "open-smoke")
    fabricate(plan, skip=("inception-v3-compat", "inception-v3-torchvision"))
    words = ["compare", "table1", "--infer-protocol", "--preset", "open-smoke", "--json", "-"]
    assert main(words) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["format"] == "kdx2i-inference-1"
    (found,) = document["tables"]
    conclusion = run(plan, "table1")
    assert found["table"] == "table1"
    assert [fit["protocol"] for fit in found["ranking"]] == [fit.protocol for fit in conclusion.inference.ranking]
    assert "open-birds stands in for birds" in found["conditions"]
    assert set(found["not_computed"]) == {"inception-v3-compat", "inception-v3-torchvision"}
    assert found["absent"] == {}
    assert "Nothing can be inferred" in captured.err  # what people read
    assert main([*words[:-1], str(root / "found.json")]) == 0
    assert json.loads((root / "found.json").read_text(encoding="utf-8")) == document


def test_without_values_the_command_that_makes_them_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--infer-protocol", "table1", "--preset", "open-smoke"]) == 2
    error = capsys.readouterr().err
    assert main(["compare", "--infer-protocol", "table1", "--preset", "open-smoke", "--json", "-"]) == 2
    assert capsys.readouterr().out == ""
    assert "no evaluation of table1 is scored under the registered protocols: start with `kdx2i evaluate" in error
    assert "--all-protocols`" in error


def test_values_of_another_state_of_a_run_are_not_used(root: Path) -> None:
    plan = make_plan(root, "paper")
    fabricate(plan)
    leaf = plan.table("table1").leaves[0]
    path = leaf.folder / FILE
    write_json(path, {**read_json(path), "identity": "of before"})
    conclusion = run(plan, "table1")
    assert conclusion.absent == {
        leaf.name: "scored under the protocols before something that it depends on changed",
    }
    write_json(path, {"format": "something else"})
    assert main(["compare", "--infer-protocol", "table1", "--preset", "paper"]) == 2


def test_expectations_are_another_question(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--infer-protocol", "table1", "--expect", "x.yaml"]) == 2
    assert "--expect belongs to the comparison of tables" in capsys.readouterr().err


def test_the_inference_imports_no_torch() -> None:
    code = "import sys, kdx2i.stages.infer, kdx2i.metrics.protocols; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
