"""Runs of snakemake with the logger plugin, as the plugin's tests need them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from snakeway import ids
from snakeway.wire import ENV_ATTEMPT, ENV_EVENTS, ENV_RUN, Event, read_events

RUN, ATTEMPT = ids.new_id(), ids.new_id()
PLAIN_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("SNAKEWAY_", "OTEL_", "SNAKEMAKE_")) and name != "TRACEPARENT"
}

GOOD = """
rule all:
    input: "out/sum.txt"
rule part:
    output: "out/{name}-{n,[0-9]+}.txt", directory("out/{name}-{n}-more")
    threads: 2
    resources: mem_mb=10, kind="big"
    shell: "echo {wildcards.n} > {output[0]}; mkdir {output[1]}"
rule sum:
    input: expand("out/a-{n}.txt", n=range(3))
    output: "out/sum.txt"
    log: "logs/sum.log"
    shell: "cat {input} > {output} 2> {log}"
"""

FAILING = """
rule all:
    input: expand("{kind}.txt", kind=["exit", "killed", "child", "python", "missing", "wrong"])
rule exit:
    output: "exit.txt"
    log: "empty.log", "exit.log"
    retries: 1
    shell: "touch {log[0]}; echo boom > {log[1]}; exit 7"
rule killed:
    output: "killed.txt"
    shell: "kill -9 $$"
rule child:
    output: "child.txt"
    shell: "bash -c 'kill -TERM $$'"
rule python:
    output: "python.txt"
    run: raise ValueError("not this time")
rule missing:
    output: "missing.txt"
    retries: 1
    shell: "true"
rule wrong:
    output: ensure("wrong.txt", non_empty=True)
    shell: "touch {output}"
"""


@dataclass
class Finished:
    """A snakemake process that has ended, and where it worked."""

    code: int
    output: str
    directory: Path

    def event_files(self) -> list[Path]:
        """The events files of runs by hand below the directory."""
        return sorted(self.directory.glob("**/.snakeway/attempts/*/events.ndjson"))

    def events(self, type_: str | None = None) -> list[Event]:
        """The events of the only attempt by hand."""
        (file,) = self.event_files()
        return events_in(file, type_)


def events_in(file: Path, type_: str | None = None) -> list[Event]:
    return [event for event in read_events(file, 0, 1 << 30)[0] if type_ in (None, event["type"])]


def command(*options: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "snakemake", "--logger", "snakeway", *options]


def snakemake(directory: Path, snakefile: str, *options: str | Path, **environment: str) -> Finished:
    """Run snakemake with the plugin, by hand unless ``environment`` says otherwise."""
    directory.mkdir(exist_ok=True, parents=True)
    (directory / "Snakefile").write_text(snakefile)
    done = subprocess.run(
        command("--cores", "2", "--scheduler", "greedy", *options),
        cwd=directory,
        env=PLAIN_ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Finished(done.returncode, done.stdout, directory)


def started_by_snakeway(events: Path, traceparent: str = "") -> dict[str, str]:
    return {ENV_RUN: RUN, ENV_ATTEMPT: ATTEMPT, ENV_EVENTS: str(events), "TRACEPARENT": traceparent}
