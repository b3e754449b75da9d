"""What ``snakeway doctor --target`` finds on a cluster, with small programs in the place of Slurm's."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from snakeway import cli
from snakeway.cli import slurm_checks
from snakeway.cli.checks import Finding

PARTITIONS = """\
PartitionName=main AllowGroups=ALL Default=YES DefaultTime=NONE State=UP TotalCPUs=16 TotalNodes=4
PartitionName=leftover AllowGroups=ALL Default=NO DefaultTime=NONE State=UP TotalCPUs=16 TotalNodes=4
PartitionName=old AllowGroups=ALL Default=NO DefaultTime=NONE State=DOWN TotalCPUs=16 TotalNodes=4
"""
CONFIG = """\
Configuration data as of 2026-11-21T10:00:00
AccountingStorageType   = accounting_storage/slurmdbd
MinJobAge               = 300 sec
"""
UP = "Slurmctld(primary) at head is UP"
RUNS_IT = """\
echo "$@" > "$HOME/sbatch-was-asked"
while [ "${1#--}" != "$1" ]; do shift; done
SLURMD_NODENAME=node7 sh "$@"
echo "42;snakeway"
"""
REMEMBERS = 'echo "$@" > "$HOME/scancel-was-asked"'


class Slurm:
    """Stand-ins for Slurm's commands; nothing else but what a job needs is on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sh", "cat", "date", "hostname", "tail", "mv", "true", "false", "sleep"):
            (folder / name).symlink_to(shutil.which(name) or "")
        self.controller(UP)
        self.has("sbatch", RUNS_IT)
        self.has("squeue", "echo 'COMPLETED|None'")
        self.has("scancel", REMEMBERS)
        self.has("sacct", "true")

    def has(self, name: str, script: str) -> None:
        """Install a command."""
        (self.folder / name).unlink(missing_ok=True)  # it may be a link to a real one
        (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / name).chmod(0o755)

    def controller(self, ping: str = UP, partitions: str = PARTITIONS, config: str = CONFIG) -> None:
        """Install scontrol, which answers like this."""
        answers = {"ping": ping, "partition": partitions, "config": config}
        cases = "\n".join(f"*{asked}*) cat <<'END'\n{text}\nEND\n;;" for asked, text in answers.items())
        self.has("scontrol", f'case "$*" in\n{cases}\nesac')

    def lacks(self, name: str) -> None:
        """Remove a command."""
        (self.folder / name).unlink()


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Slurm:
    """A cluster without trouble."""
    for name in list(os.environ):
        if name.startswith(("SBATCH_", "SLURM_", "SNAKEWAY_", "OTEL_")):
            monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    cluster = Slurm(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm_checks, "_PAUSE_S", 0.01)
    monkeypatch.setattr(slurm_checks, "_LATE_S", 0.05)
    return cluster


def look(tmp_path: Path, profile: dict[str, Any] | None = None, snakemake: str | None = "true") -> dict[str, Finding]:
    """Return the findings by check; each one that is not good has advice."""
    found = {each.check: each for each in slurm_checks.slurm(profile or {}, tmp_path / "data", snakemake)}
    assert all(each.advice for each in found.values() if each.state != "ok")
    return found


def test_a_healthy_cluster(slurm: Slurm, tmp_path: Path) -> None:
    slurm.has("apptainer", "true")
    found = look(tmp_path)
    assert {each.state for each in found.values()} == {"ok"}
    assert found["slurm partitions"].said == "main, leftover; default main"
    assert "job 42 ran on node7" in found["slurm job"].said
    assert found["node apptainer"].said == str(tmp_path / "bin/apptainer")
    assert not (tmp_path / "data").exists()


def test_the_job_is_small_and_gets_what_the_profile_gives_to_every_job(slurm: Slurm, tmp_path: Path) -> None:
    look(tmp_path, {"default-resources": ["slurm_account='lab'", "mem_mb=10"], "snakeway-slurm-qos": "tight"})
    asked = (tmp_path / "sbatch-was-asked").read_text().split()
    assert {"--time=2", "--account=lab", "--qos=tight"} <= set(asked)
    assert not any(word.startswith("--partition") for word in asked)
    look(tmp_path, {"default-resources": {"slurm_partition": "leftover"}})
    assert "--partition=leftover" in (tmp_path / "sbatch-was-asked").read_text().split()


@pytest.mark.parametrize("name", ["sbatch", "squeue", "scancel", "scontrol"])
def test_commands_that_are_needed(name: str, slurm: Slurm, tmp_path: Path) -> None:
    slurm.lacks(name)
    found = look(tmp_path)
    assert found["slurm commands"].state == "fail"
    assert name in found["slurm commands"].said
    assert "slurm controller" not in found


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Slurmctld(primary) at head is DOWN'; exit 1", "Slurmctld(primary) at head is DOWN"),
        ("echo 'Slurmctld(primary) at head is DOWN'", "Slurmctld(primary) at head is DOWN"),
        ("echo 'scontrol: fatal: no configuration' >&2; exit 1", "no configuration"),
        ("exit 3", "code 3"),
        ("true", "says nothing"),
        ("sleep 60", "has not answered"),
    ],
)
def test_a_controller_that_does_not_answer_is_asked_nothing_more(
    script: str, said: str, slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_checks, "_CALL_S", 0.3)
    slurm.has("scontrol", f"exec {script}" if script.startswith("sleep") else script)
    found = look(tmp_path)
    assert found["slurm controller"].state == "fail"
    assert said in found["slurm controller"].said
    assert list(found) == ["slurm commands", "slurm controller"]


@pytest.mark.parametrize(
    ("partitions", "asked", "state", "said"),
    [
        (PARTITIONS, None, "ok", "main, leftover; default main"),
        (PARTITIONS, "leftover", "ok", "leftover is up"),
        (PARTITIONS, "main,old", "fail", "old is asked for and not up"),
        (PARTITIONS, "nonesuch", "fail", "nonesuch is asked for and not up"),
        (PARTITIONS.replace("Default=YES", "Default=NO"), None, "fail", "(main, leftover) is the default"),
        (PARTITIONS.replace("Default=YES", "Default=NO"), "main", "ok", "main is up"),
        (PARTITIONS.replace("State=UP", "State=DRAIN"), None, "fail", "none is up"),
        (PARTITIONS.replace("TotalNodes=4", "TotalNodes=0"), "main", "fail", "main is asked for and not up"),
        ("", None, "fail", "none is up"),
    ],
)
def test_partitions(
    partitions: str,
    asked: str | None,
    state: str,
    said: str,
    slurm: Slurm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slurm.controller(partitions=partitions)
    if asked is not None:
        monkeypatch.setenv("SBATCH_PARTITION", asked)
    found = look(tmp_path)["slurm partitions"]
    assert found.state == state
    assert said in found.said


@pytest.mark.parametrize(
    ("config", "sacct", "state", "said"),
    [
        (CONFIG, "true", "ok", "answers"),
        (CONFIG, None, "warn", "sacct not found"),
        (CONFIG.replace("storage/slurmdbd", "storage/none"), "true", "warn", "keeps no books"),
        (CONFIG.replace("accounting_storage/slurmdbd", "(null)"), "true", "warn", "keeps no books"),
        (CONFIG, "echo 'sacct: error: Connection refused' >&2; exit 1", "warn", "Connection refused"),
    ],
)
def test_accounting(config: str, sacct: str | None, state: str, said: str, slurm: Slurm, tmp_path: Path) -> None:
    slurm.controller(config=config)
    if sacct is None:
        slurm.lacks("sacct")
    else:
        slurm.has("sacct", sacct)
    found = look(tmp_path)["slurm accounting"]
    assert found.state == state
    assert said in found.said
    assert state == "ok" or "snakeway efficiency" in found.advice


@pytest.mark.parametrize(("age", "state"), [("300 sec", "ok"), ("60 sec", "ok"), ("59 sec", "warn"), ("0 sec", "ok")])
def test_how_long_ended_jobs_are_remembered(age: str, state: str, slurm: Slurm, tmp_path: Path) -> None:
    slurm.controller(config=CONFIG.replace("300 sec", age))
    assert look(tmp_path)["slurm MinJobAge"].state == state


def test_a_job_that_is_refused(slurm: Slurm, tmp_path: Path) -> None:
    slurm.has("sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1")
    found = look(tmp_path)
    assert found["slurm job"].state == "fail"
    assert found["slurm job"].said == "sbatch refused it: Invalid account"
    assert "SBATCH_ACCOUNT" in found["slurm job"].advice
    assert not (tmp_path / "scancel-was-asked").exists()


def test_a_job_that_waits_is_cancelled_and_the_finding_says_why_it_waited(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_checks, "_JOB_S", 0.1)
    slurm.has("sbatch", "echo 42")
    slurm.has("squeue", "echo 'PENDING|ReqNodeNotAvail, Reserved for maintenance'")
    found = look(tmp_path)["slurm job"]
    assert found.state == "fail"
    assert "PENDING, ReqNodeNotAvail, Reserved for maintenance" in found.said
    assert (tmp_path / "scancel-was-asked").read_text().split()[-1] == "42"


@pytest.mark.parametrize(
    ("squeue", "state"),
    [
        ("echo 'FAILED|RaisedSignal:53(Real-time_signal_19)'", "FAILED"),
        ("echo 'slurm_load_jobs error: Invalid job id' >&2; exit 1", "forgotten"),
    ],
)
def test_a_job_that_leaves_no_file_has_seen_another_folder(
    squeue: str, state: str, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.has("sbatch", "echo 42")
    slurm.has("squeue", squeue)
    found = look(tmp_path)
    assert found["shared folder"].state == "fail"
    assert f"job 42 has ended ({state})" in found["shared folder"].said
    assert "slurm job" not in found


def test_a_data_folder_that_cannot_be_written_to(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    found = look(tmp_path)
    assert found["shared folder"].state == "fail"
    assert "cannot be written to" in found["shared folder"].said
    assert not (tmp_path / "sbatch-was-asked").exists()


def test_a_folder_that_looks_the_same_and_is_another(slurm: Slurm, tmp_path: Path) -> None:
    slurm.has("cat", "echo something else")
    slurm.has("scontrol", f'case "$*" in ping) echo "{UP}" ;; esac')
    assert look(tmp_path)["shared folder"].state == "fail"


@pytest.mark.parametrize(
    ("off", "state", "said"),
    [(0, "ok", "agrees"), (3, "ok", "agrees"), (3600, "warn", "s ahead"), (-3600, "warn", "s behind")],
)
def test_the_clock_of_a_node(off: int, state: str, said: str, slurm: Slurm, tmp_path: Path) -> None:
    date = (slurm.folder / "date").resolve()
    slurm.lacks("date")
    slurm.has("date", f"echo $(($({date} +%s) + {off}))")
    found = look(tmp_path)["node clock"]
    assert found.state == state
    assert said in found.said


def test_what_a_node_lacks(slurm: Slurm, tmp_path: Path) -> None:
    found = look(tmp_path, snakemake="/elsewhere/snakemake")
    assert (found["node apptainer"].state, found["node snakemake"].state) == ("warn", "fail")
    assert "/elsewhere/snakemake does not work there" in found["node snakemake"].said
    slurm.has("singularity", "true")
    slurm.has("snakemake", "echo first; echo 9.27.1")
    found = look(tmp_path, snakemake="snakemake")
    assert (found["node apptainer"].state, found["node snakemake"].said) == ("ok", "9.27.1 by snakemake")


def test_this_interpreter_is_the_one_that_must_work(slurm: Slurm, tmp_path: Path) -> None:
    assert look(tmp_path, snakemake=None)["node snakemake"].state == "ok"


class TestCommand:
    @pytest.fixture(autouse=True)
    def folders(self, slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, executor in (("cluster", "snakeway-slurm"), ("here", "local")):
            (tmp_path / "profiles" / name).mkdir(parents=True)
            (tmp_path / "profiles" / name / "config.yaml").write_text(f"executor: {executor}\n")
        (tmp_path / "profiles/cluster/snakeway.yaml").write_text("snakemake: /bin/true\n")
        monkeypatch.setattr("snakeway.cli.connect.DEFAULT_URL", "http://127.0.0.1:1")

    def findings(self, capfd: pytest.CaptureFixture[str], *args: str) -> dict[str, dict[str, str]]:
        cli.main(["doctor", "--json", *args])
        return {finding["check"]: finding for finding in json.loads(capfd.readouterr().out)}

    def test_a_target_on_slurm_is_looked_at_when_it_is_named(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert self.findings(capfd, "--target", "cluster")["slurm job"]["state"] == "ok"
        assert not [check for check in self.findings(capfd) if check.startswith("slurm")]

    def test_a_target_elsewhere_has_no_cluster(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert self.findings(capfd, "-t", "here")["target here"]["state"] == "ok"

    def test_a_target_that_does_not_exist(self, capfd: pytest.CaptureFixture[str]) -> None:
        found = self.findings(capfd, "-t", "nonesuch")["target nonesuch"]
        assert found["state"] == "fail"
        assert found["advice"]
