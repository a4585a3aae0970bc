# One rule for each kind of result, and for each variant of a kind: they differ in what the table of kinds
# (kdx2i/plan/kinds.py) says of them. A killed job goes on from its own state in .work/<identity>, which
# Snakemake does not know.
for facts in RESULTS.rules():

    rule:
        name:
            facts.name
        input:
            unpack(facts.inputs),
        output:
            reported(facts),
        log:
            facts.log,
        wildcard_constraints:
            **facts.wildcards,
        priority: facts.kind.priority
        conda:
            "../envs/kdx2i.yaml"
        threads: facts.resources["cpu"]
        resources:
            **facts.resources,
            runtime=facts.minutes,
            mem_mb=facts.megabytes,
        params:
            kdx2i=KDX2I,
            words=facts.words,
            identity=facts.identity,
            tables=facts.tables,
        message:
            facts.message
        shell:
            # In the shell's place: else a signal to all processes of a job would end the shell before a training has
            # written its checkpoint.
            "exec {params.kdx2i} {params.words:q} >{log} 2>&1"
