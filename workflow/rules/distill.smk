# Stage 1 needs no data: one student serves every dataset.
rule distill:
    input:
        unpack(RESULTS.inputs(RESULTS.distilled)),
    output:
        weights=f"{OUT}/distilled/{METHOD}/student.safetensors",
        records=f"{OUT}/distilled/{METHOD}/log.jsonl",
        samples=f"{OUT}/distilled/{METHOD}/samples.png",
        provenance=f"{OUT}/distilled/{METHOD}/provenance.json",
    log:
        f"{OUT}/logs/distill/{METHOD}.log",
    priority: 40
    conda:
        "../envs/kdx2i.yaml"
    threads: THREADS
    resources:
        cpu=THREADS,
        gpu=GPUS,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        identity=RESULTS.identity(RESULTS.distilled),
    message:
        "distill {wildcards.architecture} {wildcards.transfer} at {wildcards.resolution} px, seed {wildcards.seed}"
    shell:
        "{params.kdx2i} distill --preset {params.preset} --architecture {wildcards.architecture}"
        " --transfer {wildcards.transfer} --resolution {wildcards.resolution} --seed {wildcards.seed}"
        " >{log} 2>&1"
