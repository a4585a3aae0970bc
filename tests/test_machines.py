"""What the bits depend on beside the identity: results of several machines, or of other threads, are named."""

from pathlib import Path

import pytest
import yaml
from repository import fabricate_all, settings_copy

from kdx2i import provenance
from kdx2i.cli import main
from kdx2i.inspection.verify import doubts, verify
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import write_provenance
from kdx2i.stages import table as table_stage
from kdx2i.suite import make_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(settings_copy(tmp_path), "open-smoke")


@pytest.fixture
def leaves(plan: Plan) -> list[Leaf]:
    return fabricate_all(plan, "table1")


def test_a_table_of_several_kinds_of_machine_says_so_and_strict_refuses_it(
    plan: Plan, leaves: list[Leaf], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KDX2I_ROOT", str(plan.root))
    table, run = plan.rendered("table1"), next(leaf for leaf in leaves if leaf.kind.name == "run")
    table_stage.run(plan, table)
    assert "kinds of machine" not in table.file("table1.md").read_text()
    assert doubts(plan, verify(plan)) == []
    assert main(["verify", "--strict", "--preset", "open-smoke"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "instructions", lambda: {"PyTorch": "of long ago"})
        write_provenance(plan, run)
    table_stage.run(plan, table)
    assert "The cells were made on 2 kinds of machine: cpu" in table.file("table1.md").read_text()
    (sentence,) = doubts(plan, verify(plan))
    assert "was computed on 2 kinds of machine: cpu" in sentence
    assert (
        f"of long ago, PyTorch {provenance.packages()['torch']}, 1 thread (1 results, such as {run.name})" in sentence
    )
    capsys.readouterr()
    assert [main(["verify", *strict, "--preset", "open-smoke"]) for strict in ([], ["--strict"])] == [0, 1]
    assert capsys.readouterr().out.count(sentence) == 2
    assert main(["table", "table1", "--strict", "--preset", "open-smoke"]) == 2
    assert "without --strict the table says so in a note" in capsys.readouterr().err


def test_results_of_other_threads_than_the_preset_asks_for_are_named(plan: Plan, leaves: list[Leaf]) -> None:
    path = plan.root / "benchmarks/presets/open-smoke.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "resources": {"threads": 2}}))
    changed = make_plan(plan.root, "open-smoke")
    computed = [leaf for leaf in leaves if leaf.kind.work == "training"]
    (sentence,) = doubts(changed, verify(changed))
    assert sentence.startswith(f"{len(computed)} results, such as ")
    assert "another number of threads than the 2 that preset open-smoke asks for" in sentence
