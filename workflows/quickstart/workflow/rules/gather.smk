rule intervals:
    """Gather the resampled lines of one species into percentile intervals."""
    input:
        script=shipped("workflow/scripts/intervals.py"),
        rows="results/rows/{species}.csv",
        fit="results/fit/{species}.csv",
        lines=expand(
            "results/bootstrap/{{species}}/{batch}.csv",
            batch=BATCHES,
        ),
    output:
        intervals="results/intervals/{species}.csv",
        band="results/intervals/{species}.band.csv",
    log:
        "logs/intervals/{species}.log",
    benchmark:
        "benchmarks/intervals/{species}.tsv"
    conda:
        "../envs/python.yaml"
    resources:
        mem_mb=250,
    params:
        python=interpreter,
        confidence=config["confidence"],
    message:
        "Gathering the intervals of {wildcards.species}"
    shell:
        "{params.python:q} {input.script:q} --rows {input.rows:q} --fit {input.fit:q}"
        " --lines {input.lines:q} --confidence {params.confidence}"
        " --intervals {output.intervals:q} --band {output.band:q} > {log:q} 2>&1"


rule table:
    """Put the intervals of all species into one table."""
    input:
        script=shipped("workflow/scripts/table.py"),
        intervals=expand("results/intervals/{species}.csv", species=SPECIES),
    output:
        table=report(
            "results/table.csv",
            caption="../report/table.rst",
            category="Results",
        ),
    log:
        "logs/table.log",
    conda:
        "../envs/python.yaml"
    resources:
        mem_mb=250,
    params:
        python=interpreter,
    message:
        "Writing the table"
    shell:
        "{params.python:q} {input.script:q} --intervals {input.intervals:q}"
        " --table {output.table:q} > {log:q} 2>&1"


rule figure:
    """Draw the measurements, the lines and the intervals as one SVG picture."""
    input:
        script=shipped("workflow/scripts/figure.py"),
        table="results/table.csv",
        rows=expand("results/rows/{species}.csv", species=SPECIES),
        bands=expand("results/intervals/{species}.band.csv", species=SPECIES),
    output:
        figure=report(
            "results/figure.svg",
            caption="../report/figure.rst",
            category="Results",
        ),
    log:
        "logs/figure.log",
    benchmark:
        "benchmarks/figure.tsv"
    conda:
        "../envs/python.yaml"
    resources:
        mem_mb=250,
    params:
        python=interpreter,
        predictor=config["predictor"],
        response=config["response"],
        confidence=config["confidence"],
    message:
        "Drawing the figure"
    shell:
        "{params.python:q} {input.script:q} --table {input.table:q}"
        " --rows {input.rows:q} --bands {input.bands:q}"
        " --predictor {params.predictor:q} --response {params.response:q}"
        " --confidence {params.confidence}"
        " --figure {output.figure:q} > {log:q} 2>&1"
