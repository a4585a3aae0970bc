rule classifier:
    input:
        unpack(RESULTS.inputs(RESULTS.classifier)),
    output:
        weights=f"{OUT}/classifiers/{{dataset}}/r{{resolution}}/classifier.safetensors",
        provenance=f"{OUT}/classifiers/{{dataset}}/r{{resolution}}/provenance.json",
    log:
        f"{OUT}/logs/classifier/{{dataset}}/r{{resolution}}.log",
    priority: 10
    conda:
        "../envs/kdx2i.yaml"
    threads: THREADS
    resources:
        cpu=THREADS,
        gpu=GPUS,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        identity=RESULTS.identity(RESULTS.classifier),
    message:
        "classifier of {wildcards.dataset} at {wildcards.resolution} px"
    shell:
        "{params.kdx2i} classifier --preset {params.preset} --dataset {wildcards.dataset}"
        " --resolution {wildcards.resolution} >{log} 2>&1"


rule segmenter:
    input:
        unpack(RESULTS.inputs(RESULTS.segmenter)),
    output:
        weights=f"{OUT}/segmenters/{{dataset}}/r{{resolution}}/segmenter.safetensors",
        metrics=f"{OUT}/segmenters/{{dataset}}/r{{resolution}}/metrics.json",
        samples=f"{OUT}/segmenters/{{dataset}}/r{{resolution}}/samples.png",
        provenance=f"{OUT}/segmenters/{{dataset}}/r{{resolution}}/provenance.json",
    log:
        f"{OUT}/logs/segmenter/{{dataset}}/r{{resolution}}.log",
    priority: 10
    conda:
        "../envs/kdx2i.yaml"
    threads: THREADS
    resources:
        cpu=THREADS,
        gpu=GPUS,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        identity=RESULTS.identity(RESULTS.segmenter),
    message:
        "segmenter of {wildcards.dataset} at {wildcards.resolution} px"
    shell:
        "{params.kdx2i} segmenter --preset {params.preset} --dataset {wildcards.dataset}"
        " --resolution {wildcards.resolution} >{log} 2>&1"


rule controls:
    input:
        unpack(RESULTS.inputs(RESULTS.controls)),
    output:
        metrics=f"{OUT}/controls/{{dataset}}/r{{resolution}}/metrics.json",
        provenance=f"{OUT}/controls/{{dataset}}/r{{resolution}}/provenance.json",
    log:
        f"{OUT}/logs/controls/{{dataset}}/r{{resolution}}.log",
    priority: 10
    conda:
        "../envs/kdx2i.yaml"
    threads: THREADS
    resources:
        cpu=THREADS,
        gpu=GPUS,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        identity=RESULTS.identity(RESULTS.controls),
    message:
        "control values of {wildcards.dataset} at {wildcards.resolution} px"
    shell:
        "{params.kdx2i} controls --preset {params.preset} --dataset {wildcards.dataset}"
        " --resolution {wildcards.resolution} >{log} 2>&1"


rule evaluate:
    input:
        unpack(RESULTS.inputs(RESULTS.evaluation)),
    output:
        metrics=f"{OUT}/runs/{{dataset}}/{METHOD}/{{mode}}/metrics.json",
        samples=f"{OUT}/runs/{{dataset}}/{METHOD}/{{mode}}/samples.png",
        provenance=f"{OUT}/runs/{{dataset}}/{METHOD}/{{mode}}/provenance.json",
    log:
        f"{OUT}/logs/evaluate/{{dataset}}/{METHOD}/{{mode}}.log",
    priority: 20
    conda:
        "../envs/kdx2i.yaml"
    threads: THREADS
    resources:
        cpu=THREADS,
        gpu=GPUS,
    params:
        kdx2i=KDX2I,
        preset=PRESET,
        identity=RESULTS.identity(RESULTS.evaluation),
    message:
        "evaluate {wildcards.architecture} {wildcards.transfer} on {wildcards.dataset}"
        " at {wildcards.resolution} px, seed {wildcards.seed}, {wildcards.mode}"
    shell:
        "{params.kdx2i} evaluate --preset {params.preset} --dataset {wildcards.dataset}"
        " --architecture {wildcards.architecture} --transfer {wildcards.transfer}"
        " --resolution {wildcards.resolution} --seed {wildcards.seed} --mode {wildcards.mode}"
        " >{log} 2>&1"
