rule bootstrap:
    """Resample the rows of one species and fit a line to each resample.

    This is the scatter: one job for each species and batch. The job limits its
    own address space to mem_mb, which is a resource and not a parameter, so that
    changing it does not make finished jobs run again.
    """
    input:
        script=shipped("workflow/scripts/bootstrap.py"),
        rows="results/rows/{species}.csv",
    output:
        lines="results/bootstrap/{species}/{batch}.csv",
    log:
        "logs/bootstrap/{species}/{batch}.log",
    benchmark:
        "benchmarks/bootstrap/{species}/{batch}.tsv"
    conda:
        "../envs/python.yaml"
    resources:
        mem_mb=200,
    params:
        python=interpreter,
        seed=config["seed"],
        resamples=config["resamples"],
        ballast_mb=ballast_mb,
    message:
        "Resampling {wildcards.species}, batch {wildcards.batch}, in {resources.mem_mb} MB"
    shell:
        "{params.python:q} {input.script:q} --rows {input.rows:q}"
        " --species {wildcards.species:q} --batch {wildcards.batch}"
        " --seed {params.seed} --resamples {params.resamples}"
        " --ballast-mb {params.ballast_mb} --mem-mb {resources.mem_mb}"
        " --lines {output.lines:q} > {log:q} 2>&1"
