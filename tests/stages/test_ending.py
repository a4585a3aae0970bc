"""What a workflow ends with, and JSON for machines: made-up results of the smallest preset, 80 columns."""

import json
import re
import shutil
from pathlib import Path

import pytest
from repository import fabricate_all, settings_copy
from workflows import pretend_finished

from kdx2i.cli import main
from kdx2i.config.claims import load_claims
from kdx2i.files import write_json, write_text
from kdx2i.inspection.reference import export
from kdx2i.plan import Plan
from kdx2i.provenance import write_provenance
from kdx2i.stages import table as table_stage
from kdx2i.stages.ending import show
from kdx2i.suite import make_plan
from kdx2i.workflow import Results

SMOKE = ["--preset", "open-smoke"]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return pretend_finished(settings_copy(tmp_path_factory.mktemp("once")))


def entered(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def unchanged(once: Plan, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Finished results that a test only reads."""
    entered(once.root, monkeypatch)
    return once


@pytest.fixture
def finished(once: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A copy of its own of finished results."""
    root = entered(Path(shutil.copytree(once.root, tmp_path / "copy", symlinks=True)), monkeypatch)
    return make_plan(root, "open-smoke")


def commands(text: str) -> list[list[str]]:
    """The commands that the screen advises."""
    import shlex

    return [shlex.split(line.partition("  ")[0])[1:] for line in text.splitlines() if line.startswith("kdx2i ")]


def test_the_default_command_ends_with_what_fits_and_three_commands_that_work(
    unchanged: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    show(unchanged, ["table1"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for words in ("birds ─", "open-birds", "Ours*", "41.3", "results/open-smoke/tables/table1.md", "one seed"):
        assert words in text
    assert re.search(r"Claims of the paper, 0 of \d+ decided by this one seed, which tells nothing\.", text)
    assert "instead of" not in text  # departures are in the file
    advised = commands(text)
    assert [words[0] for words in advised] == ["compare", "claims", "show"]
    for words in advised:
        assert main(words) == 0
    capsys.readouterr()


def test_claims_of_a_row_that_a_table_has_no_more_are_a_sentence(
    finished: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = finished.root / "benchmarks/claims.yaml"
    write_text(claims, claims.read_text().replace("better: StarGANv2\n", "better: Gone\n"))
    show(finished, ["table1"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Claims are not judged: benchmarks/claims.yaml, claim latent-starganv2" in text
    assert "has no row `Gone`" in text
    assert "kdx2i compare --preset open-smoke" in text


def test_one_seed_is_set_beside_the_verdicts_of_the_reference(
    finished: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    three = make_plan(finished.root, "open-smoke", [0, 1, 2])
    fabricate_all(three, "table1")
    table_stage.run(three, three.rendered("table1"))
    export(three, ["table1"], "open-smoke")
    show(three, ["table1"])
    text = capsys.readouterr().out
    assert re.search(r"Claims of the paper, \d+ of \d+ decided by these 3 seeds[.:]", text)
    for words in commands(text):
        assert words[-2:] == ["--seeds", "0,1,2"]
        assert main(words) == 0
    pretend_finished(finished.root)
    capsys.readouterr()
    show(make_plan(finished.root, "open-smoke"), ["table1"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"(AGREES|Agreement) with results/reference/open-smoke: \d+ of 16 cells", text)
    assert "decided by results/reference/open-smoke (3 seeds)" in text


def test_claims_are_made_from_current_tables_and_verified(finished: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", *SMOKE]) == 0
    assert "one seed, so no spread is measured" in " ".join(capsys.readouterr().out.split())
    leaf = finished.claims(["table1"])
    document = json.loads(leaf.file("claims.json").read_text(encoding="utf-8"))
    assert len(document["claims"]) == len(load_claims(finished.root))
    assert Results(finished, lambda: ["claims"]).is_current(leaf)
    assert main(["verify", *SMOKE]) == 0
    path = finished.root / "benchmarks" / "claims.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("effect: 0.05", "effect: 0.06"), encoding="utf-8")
    assert main(["verify", *SMOKE]) == 1
    assert "claims.json is stale" in capsys.readouterr().out


def test_a_reference_is_judged_by_name(finished: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--reference", "nowhere"]) == 2
    assert "there is no reference `nowhere` with tables" in capsys.readouterr().err
    folder = export(finished, ["table1"], "kept")
    shutil.copytree(folder, folder.with_name("again"))
    assert main(["claims", "--reference", "kept", "--reference", "again"]) == 2
    assert "has table1, and so has one before it" in capsys.readouterr().err
    assert main(["claims", "table1", "--reference", "kept"]) == 2
    assert main(["claims", "--reference", "kept", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "reference kept"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["verify", *SMOKE], "results"),
        (["check", *SMOKE], "tables"),
        (["show", "table1", "Ours*/birds", *SMOKE], "cells"),
        (["compare", *SMOKE], "cells"),
        (["compare", "--all", *SMOKE], "gains"),
        (["claims", *SMOKE], "claims"),
    ],
)
def test_json_is_all_that_standard_output_gets(
    unchanged: Plan, capsys: pytest.CaptureFixture[str], words: list[str], key: str, tmp_path: Path
) -> None:
    assert main([*words, "--json", "-"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["format"].startswith("kdx2i-")
    assert document[key]
    assert captured.err
    path = tmp_path / "found.json"
    assert main([*words, "--json", str(path)]) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == document
    assert capsys.readouterr().out


def test_json_of_an_agreement_has_every_cell_with_the_verdict(
    finished: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    three = make_plan(finished.root, "open-smoke", [0, 1, 2])
    fabricate_all(three, "table1")
    table_stage.run(three, three.rendered("table1"))
    folder = export(three, ["table1"], "kept")
    words = ["compare", "--with", str(folder), *SMOKE, "--seeds", "0,1,2", "--json", "-"]
    capsys.readouterr()
    assert main(words) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["format"], document["agrees"], document["seeds"]) == ("kdx2i-agreement-1", True, [0, 1, 2])
    assert len(document["cells"]) == 16
    assert {cell["verdict"] for cell in document["cells"]} == {"agrees"}
    assert all(cell["value"] == cell["reference"] for cell in document["cells"])
    assert "16 of 16 cells lie in the band of one more run" in " ".join(captured.err.split())

    for leaf in three.table("table1").leaves:
        if leaf.kind.name == "evaluation":  # far outside of any spread
            record = json.loads(leaf.file("metrics.json").read_text(encoding="utf-8"))
            for entry in record["values"].values():
                entry["value"] += 1e4
            write_json(leaf.file("metrics.json"), record)
            write_provenance(three, leaf)
    table_stage.run(three, three.rendered("table1"))
    assert main(words) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["agrees"] is False
    assert any(row["differs"] for row in document["rows"])

    assert main([*words[:2], str(finished.root / "nowhere"), *words[3:]]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "is no reference: it has no tables" in captured.err


def test_what_is_found_is_written_with_another_status_too(finished: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished.run("open-birds", "stargan_v2", "kd", 32, 0)
    run.file("networks.safetensors").write_bytes(b"other")
    assert main(["verify", *SMOKE, "--json", "-"]) == 1
    document = json.loads(capsys.readouterr().out)
    wrong = [result for result in document["results"] if result["problem"] is not None]
    assert wrong[0]["problem"]["kind"] == "corrupt"
    assert main(["verify", *SMOKE, "--json", str(finished.root)]) == 2
    assert f"--json {finished.root} could not be written" in capsys.readouterr().err


def test_a_mistake_writes_no_json(unchanged: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "table1", "unicorns", *SMOKE, "--json", "-"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")


def test_shown_values_are_those_of_the_evaluation(unchanged: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "table1", "latent/Ours*/birds", *SMOKE, "--json", "-"]) == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    leaf = unchanged.evaluation("open-birds", "stargan_v2", "kd", 32, 0, "latent")
    (evaluation,) = cell["evaluations"]
    assert evaluation["values"] == json.loads(leaf.file("metrics.json").read_text(encoding="utf-8"))["values"]
    assert evaluation["identity"] == leaf.identity
    assert evaluation["command"] == unchanged.command(leaf)
    assert {item["result"] for item in evaluation["made_from"]} == {x.name for x in leaf.upstream() if x is not leaf}
