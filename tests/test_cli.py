import importlib
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from repository import ROOT, fabricate_all, kdx2i, settings_copy
from typer.main import get_command

from kdx2i.cli import app, guarded, main
from kdx2i.files import write_bytes
from kdx2i.plan import Plan
from kdx2i.suite import make_plan

RUN = ["--dataset", "open-birds", "--architecture", "stargan_v2", "--transfer", "kd", "--resolution", "32"]
SMOKE = ["--preset", "open-smoke"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDX2I_ROOT", str(settings_copy(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def finished(root: Path) -> Plan:
    plan = make_plan(root, "open-smoke")
    fabricate_all(plan, "table1")
    return plan


def replace(words: list[str], name: str, value: str) -> list[str]:
    place = words.index(name) + 1
    return [*words[:place], value, *words[place + 1 :]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", *replace(RUN, "--dataset", "cats")], "has no dataset `cats`; it has open-afhq"),
        (["train", *replace(RUN, "--architecture", "pix2pix")], "architecture pix2pix is not implemented"),
        (["train", *replace(RUN, "--transfer", "magic")], "there is no transfer `magic`; the transfers are kd"),
        (["train", *replace(RUN, "--resolution", "31")], "has no resolution 31; it has 32, 64"),
        (["evaluate", *RUN, "--mode", "sideways"], "no mode `sideways`; its modes are latent, reference"),
        (["evaluate", *RUN, "--mode", "latent"], "is missing: it has not been computed"),
        (["train", *RUN], "is missing: it has not been computed"),
        (["distill", *RUN[2:4], *RUN[6:], "--preset", "opne"], "there is no preset `opne`; the presets are open"),
        (["table", "table99"], "there is no table `table99`"),
        (["table", "table1"], "is missing"),
        (["table", "--seeds", "one"], "seeds must be whole numbers"),
        (["compare"], "has no current table"),
        (["show", "table1", "unicorns"], "table1 has no cell `unicorns`"),
        (["split", "--dataset", "cats"], "there is no dataset `cats`"),
        (["split", "--dataset", "open-birds", "--check"], "split.csv"),
        (["teacher", "nobody"], "there is no teacher `nobody`"),
        (["verify", "--preset", "nowhere.yaml"], "nowhere.yaml does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    root: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [["fly"], ["train"], ["train", *replace(RUN, "--resolution", "big")], ["--wings"]])
def test_a_wrong_command_line_explains_itself(root: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 2
    assert "Error" in capsys.readouterr().err


def advised(text: str) -> list[list[str]]:
    """Return the words of the commands in backquotes, without those that stand for something else."""
    commands = re.findall(r"`(kdx2i [a-z][^`]*)`", text)
    return [
        [word for word in command.split()[1:] if word != "..."] for command in commands if "{options}" not in command
    ]


def test_commands_that_messages_and_pages_advise_exist() -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    places = [*(ROOT / "kdx2i").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    found = [(path, words) for path in places for words in advised(path.read_text(encoding="utf-8"))]
    assert len(found) > 30
    for path, (name, *words) in found:
        assert name in known, f"{path} advises {name}"
        if getattr(known[name], "commands", None):  # a group, such as `kdx2i data`
            continue
        options = {option for parameter in known[name].params for option in parameter.opts if option.startswith("--")}
        takes_words = any(parameter.param_type_name == "argument" for parameter in known[name].params)
        strange = [word for word in words if word.startswith("--") and word not in options]
        assert not strange or name == "evaluate", f"{path} advises {name} {strange}"  # evaluate hands options on
        if words and not words[0].startswith("--"):
            assert takes_words, f"{path} advises `kdx2i {name} {words[0]}`, which takes options only"


def test_an_interruption_of_a_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kdx2i.cli.score.check", interrupted)
    assert main(["score", "--generated", "a", "--reference", "b"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interruption_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert guarded(interrupted) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_interruption_before_the_libraries_are_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The installed script is the function that catches it, and not one of a module that imports them first."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["kdx2i"].partition(":")

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{module}.delegate", interrupted)
    assert getattr(importlib.import_module(module), function)() == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_the_program_is_not_hidden() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded(broken)


def test_a_broken_preset_names_its_file_and_key(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "benchmarks/presets/open.yaml"
    data = yaml.safe_load(path.read_text())
    data["architectures"]["stargan_v2"]["train"]["lerning_rate"] = 1
    path.write_text(yaml.safe_dump(data))
    assert main(["check"]) == 2
    assert "preset open, architectures.stargan_v2: the key `train.lerning_rate` is unknown" in capsys.readouterr().err


def test_a_gpu_preset_without_gpu_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    path = root / "benchmarks/presets/open-smoke.yaml"
    path.write_text(path.read_text() + "resources: {gpus: 1}\n")
    assert main(["distill", *RUN[2:], *SMOKE]) == 2
    assert "asks for 1 GPU(s) a job and PyTorch sees 0" in capsys.readouterr().err


def test_check_plans_every_table_of_every_preset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    presets, tables = ROOT.glob("benchmarks/presets/*.yaml"), ROOT.glob("benchmarks/tables/*.yaml")
    assert len(lines) == len(list(presets)) * len(list(tables))


def test_tables_are_made_compared_verified_and_explained(finished: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "table1", *SMOKE]) == 0
    assert "StarGANv2*" in capsys.readouterr().out
    assert main(["compare", *SMOKE]) == 0
    assert main(["verify", *SMOKE]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("results are current and whole")
    assert main(["show", "table1", "Ours*/birds", *SMOKE]) == 0
    assert "kdx2i evaluate" in capsys.readouterr().out


def test_a_cell_that_is_not_computed_says_what_makes_it_and_what_the_reference_has(
    finished: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    leaf = finished.evaluation("open-birds", "stargan_v2", "kd", 32, 0, "latent")
    reference = finished.root / "results/reference/open-smoke" / leaf.directory.relative_to(finished.results)
    shutil.copytree(leaf.folder, reference)
    shutil.rmtree(finished.root / finished.results)
    assert main(["show", "table1", "Ours*/birds/latent", *SMOKE]) == 0
    shown = capsys.readouterr().out
    assert "to make   snakemake table1 --config preset=open-smoke" in shown
    assert re.search(rf"reference {reference.relative_to(finished.root)}\n    \w+ = [\d.]+", shown)
    assert "log.jsonl" not in shown
    assert "samples.png" not in shown
    (reference / "metrics.json").unlink()
    assert main(["show", "table1", "Ours*/birds/latent", *SMOKE]) == 0
    assert "results/reference" not in capsys.readouterr().out


def test_verify_names_what_is_wrong_and_restore_removes_it(finished: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished.run("open-birds", "stargan_v2", "kd", 32, 0)
    run.file("networks.safetensors").write_bytes(b"other")
    assert main(["verify", *SMOKE]) == 1
    assert f"{run.name} is corrupt: networks.safetensors" in capsys.readouterr().out
    assert main(["restore", "--dry-run", *SMOKE]) == 0
    assert "would remove" in capsys.readouterr().out
    assert run.provenance_path.exists()
    assert main(["restore", *SMOKE]) == 0
    assert not run.provenance_path.exists()


def test_a_partial_table_is_shown_and_not_written(finished: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    finished.evaluation("open-birds", "stargan_v2", "kd", 32, 0, "latent").provenance_path.unlink()
    assert main(["table", "table1", "--allow-partial", *SMOKE]) == 1
    assert "StarGANv2*" in capsys.readouterr().out
    assert not (finished.root / finished.results / "tables").exists()


def test_a_failed_expectation_is_status_1(finished: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "table1", *SMOKE]) == 0
    expectation = {"table": "table1", "part": "latent", "label": "Ours*", "dataset": "birds", "verdict": ["better"]}
    path = tmp_path / "expect.yaml"
    path.write_text(yaml.safe_dump({"expectations": [expectation]}))
    assert main(["compare", "--expect", str(path), *SMOKE]) == 1
    path.write_text(yaml.safe_dump({"expectations": [{**expectation, "verdict": ["not comparable"]}]}))
    assert main(["compare", "--expect", str(path), *SMOKE]) == 0


def test_the_module_is_the_command() -> None:
    done = kdx2i(ROOT, "table", "table99")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_outside_the_repository_it_says_where_to_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KDX2I_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    assert "is not inside the kdx2i repository" in capsys.readouterr().err


def test_a_root_that_is_not_the_clone_around_the_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = settings_copy(tmp_path / "here"), settings_copy(tmp_path / "there")
    monkeypatch.chdir(here / "benchmarks")
    monkeypatch.setenv("KDX2I_ROOT", str(there))
    assert main(["verify", *SMOKE]) == 1
    said = capsys.readouterr()
    assert f"KDX2I_ROOT is {there}: this command works there, and not in {here}\n" in said.err
    assert said.out.startswith("no result of preset open-smoke is here: `snakemake` makes them")
    for root in (str(here), ""):
        monkeypatch.setenv("KDX2I_ROOT", root)
        main(["verify", *SMOKE])
        assert "KDX2I_ROOT" not in capsys.readouterr().err


def test_shipped_weights_that_are_not_those_of_their_provenance_are_refused(
    finished: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "benchmarks/teachers/faces-r32-long.safetensors"
    path = finished.root / name
    content = path.read_bytes()
    write_bytes(path, content[:-1] + bytes([content[-1] ^ 1]))
    assert main(["distill", *[word for word in RUN if word not in ("--dataset", "open-birds")], *SMOKE]) == 2
    assert f"{name} is corrupt: it is not the file that faces-r32-long.provenance.json" in capsys.readouterr().err
    assert main(["verify", *SMOKE]) == 1
    assert f"`git checkout -- {name}` brings the shipped one back" in capsys.readouterr().out
    path.with_suffix(".provenance.json").unlink()
    main(["verify", *SMOKE])
    assert "git checkout" not in capsys.readouterr().out
