# What was asked for is printed at the end (Snakefile).
rule table:
    input:
        unpack(RESULTS.inputs(RESULTS.table)),
    output:
        csv=f"{OUT}/tables/{{table}}.csv",
        markdown=f"{OUT}/tables/{{table}}.md",
        latex=f"{OUT}/tables/{{table}}.tex",
        json=f"{OUT}/tables/{{table}}.json",
        provenance=f"{OUT}/tables/{{table}}.provenance.json",
    log:
        f"{OUT}/logs/table/{{table}}.log",
    wildcard_constraints:
        table=one_of(RESULTS.tables(drawn=False)),
    conda:
        "../envs/kdx2i.yaml"
    threads: 1
    resources:
        cpu=1,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        seeds=SEEDS,
        identity=RESULTS.identity(RESULTS.table),
    message:
        "{wildcards.table} of preset {params.preset}"
    shell:
        "{params.kdx2i} table {wildcards.table} --preset {params.preset} --seeds {params.seeds} >{log} 2>&1"


# Some tables are drawn as bars too; their rule makes both in one job.
use rule table as drawn_table with:
    output:
        **rules.table.output,
        svg=f"{OUT}/tables/{{table}}.svg",
        png=f"{OUT}/tables/{{table}}.png",
    wildcard_constraints:
        table=one_of(RESULTS.tables(drawn=True)),
