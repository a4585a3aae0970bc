# The whole suite as one graph: split -> distill -> train -> evaluate -> table -> compare.
#
#   snakemake --cores 8 table1                                       Table 1 on the open preset
#   snakemake --cores 8 tables --config preset=open-long seeds=0,1,2
#
# Which jobs there are follows from benchmarks/tables and the preset; nothing is listed here.
from snakemake.utils import min_version

min_version("9.20")


configfile: "params.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/targets.smk"


# What is missing is said before the first job, not by one job after another. Jobs on this machine, of this interpreter,
# start warm (kdx2i/warm.py).
onstart:
    if workflow.is_main_process:
        require_inputs()
    if (
        workflow.is_main_process
        and workflow.nodes is None
        and not workflow.deployment_settings.deployment_method
    ):
        # torchrun takes the place of a process, which a fork of the server cannot give up.
        if PLAN.preset.resources.gpus < 2:
            start_warm_server(PLAN.preset.resources.threads)


onsuccess:
    end_progress()
    RESULTS.print_tables()


onerror:
    end_progress()
