rule split:
    input:
        unpack(RESULTS.inputs(RESULTS.split)),
    output:
        table="data/{dataset}/split.csv",
        provenance="data/{dataset}/provenance.json",
    log:
        f"{OUT}/logs/split/{{dataset}}.log",
    priority: 50
    conda:
        "../envs/kdx2i.yaml"
    threads: 1
    resources:
        cpu=1,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        identity=RESULTS.identity(RESULTS.split),
    message:
        "split {wildcards.dataset}"
    shell:
        "{params.kdx2i} split --preset {params.preset} --dataset {wildcards.dataset} >{log} 2>&1"
