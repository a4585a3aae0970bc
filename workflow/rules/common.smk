# Helpers of the rules; no rule stands here, and nothing imports torch.
import os
import shlex
import signal
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))
# Jobs work here, whatever other clone a shell's KDX2I_ROOT names.
os.environ.update(KDX2I_ROOT=str(ROOT))

from kdx2i.devices import visible as visible_gpus
from kdx2i.errors import UserError
from kdx2i.identity import leave_large_files_unread
from kdx2i.inspection.at_work import enter_workflow
from kdx2i.inspection.preflight import require_ready
from kdx2i.suite import make_plan
from kdx2i.warm import start as start_warm_server
from kdx2i.workflow import (
    Results,
    check_config,
    made_of_large_files,
    requested_seeds,
)
from kdx2i.workflow_progress import show as show_progress


def requested_tables():
    """Return what was asked for on the command line: names of tables, and of other targets."""
    asked = workflow.dag_settings.targets
    nothing_named = not asked and not workflow.dag_settings.target_jobs
    return (
        [*PLAN.tables, *(asked or ())] if nothing_named or "tables" in asked else asked
    )


# A dry run where nothing has been made of archives and weights need not read them: 13 GiB take half a minute.
if workflow.output_settings.dryrun and not made_of_large_files(
    ROOT, str(config["preset"])
):
    leave_large_files_unread()

try:
    check_config(config)
    PLAN = make_plan(ROOT, str(config["preset"]), requested_seeds(config.get("seeds")))
    RESULTS = Results(PLAN, requested_tables)
except UserError as error:
    raise WorkflowError(str(error))


def require_inputs():
    """End the workflow with one sentence where what its tables need from outside is not all there."""
    try:
        require_ready(PLAN, RESULTS.needed_tables(), here=workflow.nodes is None)
    except UserError as error:
        raise WorkflowError(str(error))


# On a terminal one bar instead of a line for each thing that happens (kdx2i/workflow_progress.py).
if workflow.is_main_process:
    PROGRESS = show_progress(workflow.output_settings, RESULTS.losses_of)


def end_progress():
    """Take the bar away before anything else is printed."""
    if workflow.is_main_process and PROGRESS is not None:
        PROGRESS.stop()


def reported(facts):
    """Return the outputs of a rule, those that Snakemake's own report shows with caption, category and labels."""
    outputs = []
    for path in facts.outputs:
        shown = facts.shown(path)
        if shown is not None:
            caption, category, labels = shown
            path = report(
                path,
                caption=f"../report/{caption}.rst",
                category=category,
                labels=labels,
            )
        outputs.append(path)
    return outputs


# Slurm sends its warning before a limit to all processes of a job: those of Snakemake wait for the job's command, which
# heeds it or, where it keeps no state, goes on.
if not workflow.is_main_process:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)

# A killed Snakemake leaves its lock and its temporary folders; the next one that finds nobody at work clears them away.
if workflow.is_main_process:
    AT_WORK = enter_workflow(
        ROOT,
        PLAN.results,
        [workflow.snakemake_tmp_dir, workflow.sourcecache.runtime_cache_path],
    )

# The rules run this package with this interpreter, whatever is installed or activated elsewhere; under
# `--sdm conda` or `--sdm apptainer` with that of the environment.
PYTHON = "python" if workflow.deployment_settings.deployment_method else sys.executable
KDX2I = f"{shlex.quote(PYTHON)} -m kdx2i"

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
    # A job holds its GPUs by itself (kdx2i/devices.py): this only keeps more from starting than find some.
    # Where there are too few for one, the job says so.
    if "gpu" not in workflow.global_resources:
        workflow.register_resource(
            "gpu", max(len(visible_gpus()), PLAN.preset.resources.gpus)
        )
