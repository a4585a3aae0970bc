# Stage 2. A killed job goes on from its own state in .work/<identity>, which Snakemake does not know.
rule train:
    input:
        unpack(RESULTS.inputs(RESULTS.run)),
    output:
        weights=f"{OUT}/runs/{{dataset}}/{METHOD}/networks.safetensors",
        records=f"{OUT}/runs/{{dataset}}/{METHOD}/log.jsonl",
        samples=f"{OUT}/runs/{{dataset}}/{METHOD}/samples.png",
        provenance=f"{OUT}/runs/{{dataset}}/{METHOD}/provenance.json",
    log:
        f"{OUT}/logs/train/{{dataset}}/{METHOD}.log",
    priority: 30
    conda:
        "../envs/kdx2i.yaml"
    threads: THREADS
    resources:
        cpu=THREADS,
        gpu=GPUS,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        identity=RESULTS.identity(RESULTS.run),
    message:
        "train {wildcards.architecture} {wildcards.transfer} on {wildcards.dataset}"
        " at {wildcards.resolution} px, seed {wildcards.seed}"
    shell:
        "{params.kdx2i} train --preset {params.preset} --dataset {wildcards.dataset}"
        " --architecture {wildcards.architecture} --transfer {wildcards.transfer}"
        " --resolution {wildcards.resolution} --seed {wildcards.seed} >{log} 2>&1"
