rule scatter:
    input:
        "data/lines.txt",
    output:
        scatter.parts("results/parts/{scatteritem}.txt"),
    run:
        lines = Path(input[0]).read_text().splitlines(keepends=True)
        for number, path in enumerate(output):
            Path(path).write_text("".join(lines[number :: len(output)]))


rule transform:
    input:
        "results/parts/{scatteritem}.txt",
    output:
        "results/transformed/{scatteritem}.txt",
    params:
        mark=shout("part"),
    shell:
        "sed 's/^/{params.mark} {wildcards.scatteritem} /' {input} > {output}"


rule gather:
    input:
        gather.parts("results/transformed/{scatteritem}.txt"),
    output:
        "results/gathered.txt",
    shell:
        "cat {input} > {output}"
