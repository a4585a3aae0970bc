"""What the profiles ask of a machine and of a cluster."""

import re
from typing import Any

import pytest
import yaml
from repository import ROOT

from kdx2i.costs.limits import UNCOUNTED, limits
from kdx2i.costs.sheet import read_costs
from kdx2i.suite import make_plan

PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml"))
THREE_DAYS = 3 * 24 * 60
"""Minutes that StarGAN v2 takes on a V100."""


def profile(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())
    return read


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
    """Rules ask for run time and memory themselves (tests/costs); three days are what StarGAN v2 takes on a V100."""
    slurm = profile("slurm")
    asked = dict(entry.split("=", 1) for entry in slurm["default-resources"])
    assert "set-resources" not in slurm and int(asked["mem_mb"]) <= 8000
    plan = make_plan(ROOT, "paper")
    training = plan.run("animal-faces", "stargan_v2", "scratch", 256, 0)
    assert limits(training, read_costs(ROOT, "paper"), 0)[0] > THREE_DAYS and UNCOUNTED["run"][0] > THREE_DAYS
    assert asked["tasks_per_gpu"] == "0" and "--signal=USR1@" in asked["slurm_extra"]
    assert slurm["retries"] >= 1 and slurm["slurm-requeue"]
