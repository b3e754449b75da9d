"""Measures a text; everything comes from the object that Snakemake puts into the script."""

import json
import sys
from pathlib import Path

from lib.numbers import scaled

with Path(snakemake.log[0]).open("w") as log:
    print("python", sys.version_info[0], file=log)

text = Path(snakemake.input.text).read_text()
factors = json.loads(Path(snakemake.input.helper).read_text())
found = {
    "sample": snakemake.wildcards.sample,
    "label": snakemake.params.label,
    "nested": snakemake.params["nested"],
    "threads": snakemake.threads,
    "mem_mb": snakemake.resources.mem_mb,
    "tier": snakemake.resources["tier"],
    "rule": snakemake.rule,
    "config": snakemake.config,
    "script": Path(snakemake.scriptdir).name,
    "words": scaled(len(text.split()), factors),
}
Path(snakemake.output.numbers).write_text(json.dumps(found, sort_keys=True))
Path(snakemake.output[0]).write_text(text.swapcase())
