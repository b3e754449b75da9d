rule rows:
    """Keep the rows of one species in which both columns are measured."""
    input:
        script=shipped("workflow/scripts/rows.py"),
        data=data_file(),
    output:
        rows="results/rows/{species}.csv",
    log:
        "logs/rows/{species}.log",
    benchmark:
        "benchmarks/rows/{species}.tsv"
    conda:
        "../envs/python.yaml"
    resources:
        mem_mb=250,
    params:
        python=interpreter,
        predictor=config["predictor"],
        response=config["response"],
    message:
        "Keeping the usable rows of {wildcards.species}"
    shell:
        "{params.python:q} {input.script:q} --data {input.data:q}"
        " --species {wildcards.species:q}"
        " --predictor {params.predictor:q} --response {params.response:q}"
        " --rows {output.rows:q} > {log:q} 2>&1"


rule fit:
    """Fit a straight line to the rows of one species by least squares."""
    input:
        script=shipped("workflow/scripts/fit.py"),
        rows="results/rows/{species}.csv",
    output:
        fit="results/fit/{species}.csv",
    log:
        "logs/fit/{species}.log",
    benchmark:
        "benchmarks/fit/{species}.tsv"
    conda:
        "../envs/python.yaml"
    resources:
        mem_mb=250,
    params:
        python=interpreter,
    message:
        "Fitting {wildcards.species}"
    shell:
        "{params.python:q} {input.script:q} --species {wildcards.species:q}"
        " --rows {input.rows:q} --fit {output.fit:q} > {log:q} 2>&1"
