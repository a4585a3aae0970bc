"""What a user may say and where a clone may lie: unknown keys are refused, odd paths are quoted."""

import sys
from pathlib import Path

import pytest
import yaml
from repository import ROOT, clone, run, settings_copy, snakemake

from kdx2i.errors import UserError
from kdx2i.workflow import CONFIG_KEYS, check_config

SPLIT = "data/open-birds/split.csv"


def test_the_known_keys_are_those_of_the_parameters() -> None:
    assert tuple(yaml.safe_load((ROOT / "params.yaml").read_text())) == CONFIG_KEYS
    check_config(CONFIG_KEYS)


def test_a_key_far_from_every_known_one_gets_no_suggestion() -> None:
    with pytest.raises(UserError) as refused:
        check_config(["preset", "zzz"])
    assert str(refused.value) == "the configuration has no key `zzz`; its keys are preset, seeds, targets"


@pytest.mark.workflow
def test_an_unknown_key_is_one_sentence_before_any_job() -> None:
    done = snakemake(ROOT, "-n", "--cores", "1", "table1", "--config", "preset=open-smoke", "seed=0,1,2")
    screen = done.stdout + done.stderr
    assert done.returncode == 1
    assert "the configuration has no key `seed` (did you mean `seeds`?); its keys are preset, seeds, targets" in screen
    assert "Traceback" not in screen and "Building DAG" not in screen


@pytest.mark.workflow
def test_what_is_missing_from_outside_is_one_sentence_before_any_job(tmp_path: Path) -> None:
    done = snakemake(clone(tmp_path / "copy"), "--cores", "1", "table5", "--config", "preset=paper")
    screen = done.stdout + done.stderr
    assert done.returncode == 1
    assert "preset paper needs what is not here: data/raw/afhq.zip, " in screen
    assert "Traceback" not in screen and "Select jobs to execute" not in screen


@pytest.mark.workflow
def test_a_clone_and_an_interpreter_may_have_any_signs_in_their_path(tmp_path: Path) -> None:
    """And jobs work in the Snakefile's clone, whatever other one a shell's KDX2I_ROOT names."""
    root, other = clone(tmp_path / "a b'c\"d;e$HOME&f"), settings_copy(tmp_path / "other")
    (root / ".venv").symlink_to(sys.prefix)
    python = root / ".venv" / "bin" / Path(sys.executable).name
    own = {**yaml.safe_load((ROOT / "benchmarks/presets/open-smoke.yaml").read_text()), "name": "open-smoke"}
    preset = root / "my 'own' presets" / "open-smoke.yaml"
    preset.parent.mkdir()
    preset.write_text(yaml.safe_dump(own))
    config = ("--config", f"preset={preset.relative_to(root)}")
    asked = ("env", f"KDX2I_ROOT={other}", "KDX2I_WARM=off", str(python), "-m", "snakemake", "--cores", "1")
    dry = run(root, *asked, "-n", "table1", *config)
    assert dry.returncode == 0, dry.stdout + dry.stderr
    done = run(root, *asked, SPLIT, *config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / SPLIT).read_text().startswith("image,class,role")
    assert [path.name for path in other.iterdir()] == ["benchmarks"]
