"""What the logger plugin tells of the files that snakemake was asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.plugin_runs import PLAIN_ENVIRONMENT, Finished

SNAKEFILE = """
def parts(wildcards):
    import os
    return [f"each/{n}" for n in sorted(os.listdir(checkpoints.split.get().output[0])) if n.endswith(".txt")]
rule all:
    input: "final.txt", "folder", "there.txt"
rule middle:
    output: temp("middle.txt"), "beside.txt"
    shell: "touch {output}"
rule final:
    input: "middle.txt"
    output: "final.txt"
    shell: "touch {output}"
rule folder:
    output: directory("folder")
    shell: "mkdir {output}"
checkpoint split:
    output: directory("parts")
    shell: "mkdir {output}; touch {output}/x.txt {output}/y.txt"
rule early:
    output: "early.txt"
    shell: "touch {output}"
rule each:
    input: "parts/{n}.txt", "early.txt"
    output: "each/{n}.txt"
    shell: "touch {output}"
rule gathered:
    input: parts, "early.txt"
"""


def snakemake(folder: Path, *args: str) -> Finished:
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "there.txt").touch()
    argv = [sys.executable, "-m", "snakemake", "--logger", "snakeway", "--cores", "2", *args]
    ended = subprocess.run(
        argv, cwd=folder, env=PLAIN_ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    return Finished(ended.returncode, ended.stdout + ended.stderr, folder)


@pytest.mark.parametrize(
    ("args", "requested"),
    [
        ([], {"final.txt", "folder", "there.txt"}),
        (["final"], {"final.txt"}),
        (["./beside.txt", "folder"], {"beside.txt", "folder"}),
        (["middle"], {"middle.txt", "beside.txt"}),
        (["gathered", "--forcerun", "folder"], {"each/x.txt", "each/y.txt", "early.txt"}),
        (["--until", "middle"], {"middle.txt", "beside.txt"}),
        (["--dry-run"], None),
    ],
)
def test_what_was_asked_for_is_told(args: list[str], requested: set[str] | None, tmp_path: Path) -> None:
    finished = snakemake(tmp_path, *args)
    assert finished.code == 0, finished.output
    assert "cannot record" not in finished.output
    if requested is None:
        assert finished.event_files() == []
        return
    told = [name for event in finished.events("requested") for name in event["files"]]
    assert sorted(told) == sorted(requested)
    folders = {each for event in finished.events("job") for each in event["directories"]}
    assert folders == {each for event in finished.events("job") for each in event["output"]} & {"folder", "parts"}


def test_what_is_up_to_date_was_asked_for_as_well(tmp_path: Path) -> None:
    snakemake(tmp_path)
    for file in snakemake(tmp_path).event_files():
        file.unlink()
    again = snakemake(tmp_path)
    assert again.events("job") == []
    assert {name for event in again.events("requested") for name in event["files"]} == {
        "final.txt",
        "folder",
        "there.txt",
    }
