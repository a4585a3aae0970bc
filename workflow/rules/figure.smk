# Qualitative figures: grids of images drawn from runs and students, one target each and `figures`.
rule figure:
    input:
        unpack(RESULTS.inputs(RESULTS.figure)),
    output:
        png=f"{OUT}/figures/{{figure}}.png",
        json=f"{OUT}/figures/{{figure}}.json",
        provenance=f"{OUT}/figures/{{figure}}.provenance.json",
    log:
        f"{OUT}/logs/figure/{{figure}}.log",
    wildcard_constraints:
        figure=one_of(RESULTS.figures()),
    conda:
        "../envs/kdx2i.yaml"
    threads: 1
    resources:
        cpu=1,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        seeds=SEEDS,
        identity=RESULTS.identity(RESULTS.figure),
    message:
        "{wildcards.figure} of preset {params.preset}"
    shell:
        "{params.kdx2i} figure {wildcards.figure} --preset {params.preset} --seeds {params.seeds} >{log} 2>&1"


localrules:
    figures,


rule figures:
    input:
        [
            path
            for name in RESULTS.figures()
            for path in RESULTS.files_behind_figure(name)
        ],
    message:
        "all figures are drawn"


for figure_name in RESULTS.figures():

    rule:
        name:
            figure_name
        input:
            RESULTS.files_behind_figure(figure_name),
        localrule: True
        message:
            f"{figure_name} is drawn"
