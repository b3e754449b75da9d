"""The command of a job as bash runs it, in images that say what they have and in others."""

import subprocess
from pathlib import Path

import pytest

from snakemake_executor_plugin_snakeway_aws_batch.command import NODE, in_one_start, installing

COMMAND = (
    f"{installing(['plugin-s3'], 'deployed')} &&  python -m snakemake --deploy-sources s3://b/x.tar.xz 29 "
    f"--default-storage-prefix 's3://b/with space' && python {NODE} -m snakemake --snakefile 'Snakefile' --force"
)
FETCH = "--deploy-sources|s3://b/x.tar.xz|29|--default-storage-prefix|s3://b/with space"
JOB = "-m|snakemake|--snakefile|Snakefile|--force"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Programs that note their arguments; one that fetches a workflow fails if there is a file `broken`."""
    for name in ("python", "pip"):
        said = f'#!/bin/bash\n(IFS="|"; echo "{name} $*") >> {tmp_path}/calls\n[ ! -e {tmp_path}/broken ]\n'
        (tmp_path / name).write_text(said)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def calls(programs: Path, code: int = 0, **env: str) -> list[str]:
    path = {"PATH": f"{programs}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/bash", "-c", in_one_start(COMMAND)], env=path | env, check=False)
    assert done.returncode == code
    return (programs / "calls").read_text().splitlines()


def test_where_the_image_says_nothing_it_is_what_the_plugin_runs(programs: Path) -> None:
    assert calls(programs) == [
        "pip install|--target|deployed|plugin-s3",
        f"python -m|snakemake|{FETCH}",
        f"python {JOB}",
    ]


def test_where_the_image_has_it_snakemake_is_started_once_and_nothing_installed(programs: Path) -> None:
    has = {"SNAKEWAY_HAS": "plugin-http plugin-s3", "SNAKEWAY_NODE": "-m snakeway.node"}
    assert calls(programs, **has) == [f"python -m|snakeway.node|{FETCH}|--then|{JOB}"]


def test_no_job_is_started_without_its_workflow(programs: Path) -> None:
    (programs / "broken").touch()
    assert len(calls(programs, code=1, SNAKEWAY_HAS="plugin-s3")) == 1


def test_a_command_of_another_make_is_left_as_it_is() -> None:
    assert in_one_start("python -m snakemake --force") == "python -m snakemake --force"
