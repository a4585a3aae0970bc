# Helpers of the rules; no rule stands here, and nothing imports torch.
import os
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))

from kdx2i.config import find_root
from kdx2i.errors import UserError
from kdx2i.plan import Plan
from kdx2i.warm import start as start_warm_server
from kdx2i.workflow import Results, requested_seeds

try:
    PLAN = Plan(ROOT, str(config["preset"]), requested_seeds(config.get("seeds")))
    RESULTS = Results(PLAN)
except UserError as error:
    raise WorkflowError(str(error))

# The rules run this package with this interpreter, whatever is installed or activated elsewhere; under
# `--sdm conda` or `--sdm apptainer` with that of the environment.
PYTHON = "python" if workflow.deployment_settings.deployment_method else sys.executable
KDX2I = f"{PYTHON} -m kdx2i"
PRESET = PLAN.preset_argument
OUT = PLAN.results.as_posix()
SEEDS = ",".join(str(seed) for seed in PLAN.seeds)
THREADS = PLAN.preset.resources.threads
GPUS = PLAN.preset.resources.gpus
METHOD = "{architecture}/{transfer}/r{resolution}/s{seed}"

# `--cores 8` on two cores would start eight jobs at once: a job takes as many CPUs as it has threads, and
# there are as many as this machine has. On a cluster the scheduler of the cluster decides.
if workflow.is_main_process and workflow.nodes is None:
    # Not every system can say how many of its cores this process may use.
    usable = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )
    workflow.register_resource("cpu", usable)


wildcard_constraints:
    dataset=r"[a-z0-9][a-z0-9._-]*",
    architecture=r"[a-z0-9][a-z0-9._-]*",
    transfer=r"[a-z0-9][a-z0-9._-]*",
    mode=r"[a-z0-9][a-z0-9._-]*",
    resolution=r"\d+",
    seed=r"\d+",


def one_of(names):
    """Return a wildcard constraint that admits these names; with none, nothing."""
    return "|".join(names) or "(?!)"


def requested_tables():
    """Return the names of the tables that were asked for on the command line."""
    asked = workflow.dag_settings.targets
    nothing_named = not asked and not workflow.dag_settings.target_jobs
    return PLAN.tables if nothing_named or "tables" in asked else asked


def compared_tables(wildcards):
    """Return the names of the tables that the comparison covers."""
    return RESULTS.compared(requested_tables())


def comparison(wildcards):
    """Return the comparison's leaf."""
    return PLAN.comparison(compared_tables(wildcards))
