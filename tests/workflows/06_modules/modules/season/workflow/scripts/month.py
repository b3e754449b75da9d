from pathlib import Path

Path(snakemake.output[0]).write_text(f"{snakemake.wildcards.month} is a month of {snakemake.params.name}\n")
