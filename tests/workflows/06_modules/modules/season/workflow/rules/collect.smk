rule month:
    output:
        "months/{month}.txt",
    params:
        name=config["name"],
    script:
        "../scripts/month.py"


rule collect:
    input:
        expand("months/{month}.txt", month=config["months"]),
    output:
        "collected.txt",
    shell:
        "cat {input} > {output}"
