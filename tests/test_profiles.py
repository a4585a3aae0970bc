"""What the profiles ask of a machine and of a cluster, against the rules that they speak of."""

import re
from typing import Any

import pytest
import yaml
from repository import ROOT

from kdx2i.plan.kinds import KINDS

PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml"))
RULES = {kind.rule or kind.command for kind in KINDS.values()}
THREE_DAYS = 3 * 24 * 60
"""Minutes that StarGAN v2 takes on a V100."""


def profile(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())
    return read


def resources_of(rule: str) -> dict[str, str]:
    """Return what the profile of Slurm asks for a rule: what it says of it, else the defaults."""
    slurm = profile("slurm")
    asked = dict(entry.split("=", 1) for entry in slurm["default-resources"])
    own = [entry.split(":", 1)[1] for entry in slurm["set-resources"] if entry.startswith(f"{rule}:")]
    return asked | dict(entry.split("=", 1) for entry in own)


def test_the_page_lists_the_profiles_that_there_are() -> None:
    page = (ROOT / "profiles/README.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == PROFILES
    assert not (ROOT / "profiles/kubernetes").exists() and "There is no profile for Kubernetes" in page


@pytest.mark.parametrize("name", PROFILES)
def test_no_profile_limits_how_many_gpus_are_used_at_once(name: str) -> None:
    """One GPU for all jobs made Slurm run a single one at a time, `profiles/default` being read beside each other."""
    assert not {"resources", "default-resources"} & set(profile("default"))
    assert "resources" not in profile(name)


def test_slurm_is_asked_for_what_rules_need() -> None:
    slurm = profile("slurm")
    assert {entry.split(":")[0] for entry in slurm["set-resources"]} <= RULES
    assert int(resources_of("train")["runtime"]) > THREE_DAYS
    for rule in ("split", "table", "compare", "figure"):
        assert int(resources_of(rule)["mem_mb"]) <= 8000
    for rule in RULES:
        asked = resources_of(rule)
        assert asked["tasks_per_gpu"] == "0" and "--signal=USR1@" in asked["slurm_extra"]
    assert slurm["retries"] >= 1 and slurm["slurm-requeue"]
