# The comparison covers the tables that are asked for and those that are there already.
rule compare:
    input:
        unpack(RESULTS.inputs(comparison)),
    output:
        csv=f"{OUT}/comparison.csv",
        json=f"{OUT}/comparison.json",
        metrics=f"{OUT}/metrics.json",
        provenance=f"{OUT}/comparison.provenance.json",
    log:
        f"{OUT}/logs/compare.log",
    conda:
        "../envs/kdx2i.yaml"
    threads: 1
    resources:
        cpu=1,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        seeds=SEEDS,
        identity=RESULTS.identity(comparison),
        tables=compared_tables,
    message:
        "compare {params.tables} with the published numbers"
    shell:
        "{params.kdx2i} compare {params.tables} --preset {params.preset} --seeds {params.seeds} >{log} 2>&1"
