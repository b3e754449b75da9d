"""What ``snakeway doctor --target`` looks at on a Slurm cluster: its commands, its settings, and a job of a moment."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakeway.cli.checks import Finding

EXECUTORS = frozenset({"snakeway-slurm", "slurm"})

_NEEDED = ("sbatch", "squeue", "scancel", "scontrol")
_CALL_S = 15.0  # Slurm's own programs give up after their MessageTimeout, mostly 10 s
_JOB_S = 60.0  # from the submission to the answer
_LATE_S = 10.0  # by which a file of a node may be seen later here
_PAUSE_S, _LONGEST_PAUSE_S = 0.3, 2.0  # between two looks at the job
_CLOCK_S = 5
_SHORT_AGE_S = 60
_REFUSED = "Batch job submission failed: "  # sbatch's; what follows is the reason
_SITE = "give them to sbatch with SBATCH_ACCOUNT, SBATCH_PARTITION and SBATCH_QOS, or in the profile"
_LOST = "'snakeway efficiency' stays empty, and who cancelled a job and how much memory it used is not known"

_SCRIPT = """\
#!/bin/sh
# Looks around on a node: FOLDER, then a command that must work there.
folder=$1
shift
said=$("$@" 2>&1)
code=$?
{
    echo "read=$(cat "$folder/question")"
    echo "host=${SLURMD_NODENAME:-$(hostname)}"
    echo "clock=$(date +%s)"
    echo "apptainer=$(command -v apptainer || command -v singularity)"
    echo "code=$code"
    echo "said=$(printf '%s' "$said" | tail -n 1)"
} > "$folder/answer.part" && mv "$folder/answer.part" "$folder/answer"
"""
_IMPORTS = "import snakeway, snakemake; from importlib.metadata import version; print(version('snakemake'))"


class _Silent(Exception):
    """One of Slurm's commands did not do what it was asked for; the message is its own."""


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What a profile gives to sbatch, where runs are stored, and the command that must work on a node."""

    asks: Mapping[str, str]
    data_dir: Path
    command: Sequence[str]


def slurm(profile: Mapping[str, Any], data_dir: Path, snakemake: str | None) -> Iterator[Finding]:
    """Everything, in the order in which one thing needs the other. Runs a job and leaves nothing behind."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        yield Finding("slurm plugin", "fail", "not installed", "install Snakeway with its extra 'slurm'")
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        advice = "work on a machine from which jobs can be submitted, or put Slurm's programs on PATH"
        yield Finding("slurm commands", "fail", f"{', '.join(missing)} not found on PATH", advice)
        return
    yield Finding("slurm commands", "ok", f"in {Path(shutil.which('sbatch') or '').parent}")
    try:
        yield _controller()
    except _Silent as silence:
        advice = "is SLURM_CONF right, and does slurmctld run? Until it answers, jobs wait and nothing is lost"
        yield Finding("slurm controller", "fail", str(silence), advice)
        return
    command = [snakemake, "--version"] if snakemake else [sys.executable, "-c", _IMPORTS]
    cluster = _Cluster(_asked(profile), data_dir, command)
    for check in (lambda: [_partitions(cluster)], _settings, lambda: _job(cluster)):
        try:
            yield from check()
        except _Silent as silence:
            yield Finding("slurm", "fail", str(silence), "ask those who run the cluster")


def _controller() -> Finding:
    said = _ask("scontrol", "ping")
    up = [line for line in said.splitlines() if line.endswith(" UP")]
    if not up:
        raise _Silent(said.strip().replace("\n", "; ") or "scontrol ping says nothing")
    return Finding("slurm controller", "ok", up[0])


def _partitions(cluster: _Cluster) -> Finding:
    lines = _ask("scontrol", "--oneliner", "show", "partition").splitlines()
    told = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
    names = {known.get("PartitionName", ""): known for known in told}
    up = [name for name, known in names.items() if known.get("State") == "UP" and known.get("TotalNodes") != "0"]
    default = [name for name in up if names[name].get("Default") == "YES"]
    named = cluster.asks.get("partition") or os.environ.get("SBATCH_PARTITION")
    if named:
        down = [name for name in named.split(",") if name not in up]
        advice = f"use one that is up: {', '.join(up)}" if up else "ask those who run the cluster"
        if down:
            return Finding("slurm partitions", "fail", f"{', '.join(down)} is asked for and not up", advice)
        return Finding("slurm partitions", "ok", f"{named} is up")
    if not up:
        return Finding("slurm partitions", "fail", "none is up", "ask those who run the cluster")
    if not default:
        advice = "set SBATCH_PARTITION, or slurm_partition in the profile's default-resources"
        return Finding(
            "slurm partitions", "fail", f"none of those that are up ({', '.join(up)}) is the default", advice
        )
    return Finding("slurm partitions", "ok", f"{', '.join(up)}; default {default[0]}")


def _settings() -> Iterator[Finding]:
    lines = _ask("scontrol", "show", "config").splitlines()
    config = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    yield _accounting(config.get("AccountingStorageType", ""))
    age = config.get("MinJobAge", "").split(" ")[0]
    if age.isdigit() and 0 < int(age) < _SHORT_AGE_S:  # 0: jobs are never forgotten
        advice = f"have MinJobAge set to {_SHORT_AGE_S} or more in slurm.conf"
        said = f"{age} s: a job may be forgotten before its end was seen, and then counts as failed"
        yield Finding("slurm MinJobAge", "warn", said, advice)
    elif age:
        yield Finding("slurm MinJobAge", "ok", f"{age} s")


def _accounting(kind: str) -> Finding:
    if shutil.which("sacct") is None:
        return Finding("slurm accounting", "warn", "sacct not found on PATH", f"without it {_LOST}")
    if kind.rpartition("/")[2] in ("none", "(null)"):
        return Finding("slurm accounting", "warn", "the cluster keeps no books", f"without them {_LOST}")
    try:
        _ask("sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID", "--starttime=now")
    except _Silent as silence:
        return Finding("slurm accounting", "warn", str(silence), f"does slurmdbd run? Without it {_LOST}")
    return Finding("slurm accounting", "ok", "answers")


def _job(cluster: _Cluster) -> Iterator[Finding]:
    made = not cluster.data_dir.exists()
    try:
        cluster.data_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cluster.data_dir).close()
    except OSError as error:
        said = f"{cluster.data_dir} cannot be written to: {error.strerror}"
        yield Finding("shared folder", "fail", said, "set SNAKEWAY_DATA_DIR to a folder that all nodes see as well")
        return
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=cluster.data_dir, ignore_cleanup_errors=True) as folder:
        yield from _job_in(cluster, Path(folder).resolve())
    if made:
        with suppress(OSError):
            cluster.data_dir.rmdir()


def _job_in(cluster: _Cluster, folder: Path) -> Iterator[Finding]:
    question, script = folder.name, folder / "look.sh"
    (folder / "question").write_text(question)
    script.write_text(_SCRIPT)
    asks = [f"--{name}={value}" for name, value in cluster.asks.items()]
    options = ["--parsable", "--job-name=snakeway-doctor", "--time=2", "--mem=200", "--ntasks=1", "--no-requeue"]
    submitted_at = time.time()
    try:
        told = _ask("sbatch", *options, f"--output={folder}/log", *asks, str(script), str(folder), *cluster.command)
    except _Silent as silence:
        why = str(silence).rpartition(_REFUSED)[2]
        yield Finding("slurm job", "fail", f"sbatch refused it: {why}", f"if account, partition or QOS: {_SITE}")
        return
    id_ = told.strip().partition(";")[0]
    try:
        end = _wait(id_, folder / "answer")
        seen_at = time.time()
    finally:
        _cancel(id_)
    if end is not None:
        yield end
        return
    answer = dict(line.partition("=")[::2] for line in (folder / "answer").read_text(errors="replace").splitlines())
    yield Finding("slurm job", "ok", f"job {id_} ran on {answer.get('host')}, {seen_at - submitted_at:.0f} s in all")
    yield from _on_node(answer, question, cluster, submitted_at, seen_at)


def _wait(id_: str, answer: Path) -> Finding | None:
    """Wait until the job has answered; returns what is wrong if it does not."""
    deadline, pause = time.monotonic() + _JOB_S, _PAUSE_S
    state, reason, ended = "", "", False
    while not answer.exists():
        if time.monotonic() >= deadline:
            if ended:
                said = f"job {id_} has ended ({state or 'forgotten'}) and left no file in {answer.parent}"
                advice = "SNAKEWAY_DATA_DIR must be a folder that all nodes see under the same name and can write to"
                return Finding("shared folder", "fail", said, advice)
            said = f"job {id_} was cancelled after {_JOB_S:.0f} s: {state or 'UNKNOWN'}, {reason or 'no reason told'}"
            advice = "the reason is squeue's; is the cluster full, or the account at a limit? Try again later"
            return Finding("slurm job", "fail", said, advice)
        if not ended:
            state, _, reason = _state(id_).partition("|")
            if state not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
                ended, deadline = True, min(deadline, time.monotonic() + _LATE_S)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    return None


def _on_node(
    answer: Mapping[str, str], question: str, cluster: _Cluster, submitted_at: float, seen_at: float
) -> Iterator[Finding]:
    """What the job has found. Only a clock that must be wrong is called wrong: the job ran some time in between."""
    if answer.get("read") == question:
        yield Finding("shared folder", "ok", f"{cluster.data_dir} is the same on the node")
    else:
        advice = "SNAKEWAY_DATA_DIR must be a folder that all nodes can read and write"
        yield Finding("shared folder", "fail", f"the node cannot read what was written to {cluster.data_dir}", advice)
    clock = int(answer.get("clock", "")) if answer.get("clock", "").isdigit() else submitted_at
    wrong_s = max(clock - seen_at, submitted_at - clock)
    if wrong_s > _CLOCK_S:
        side = "ahead" if clock > seen_at else "behind"
        advice = "have both set by NTP: Snakemake compares the times of files"
        yield Finding("node clock", "warn", f"{wrong_s:.0f} s {side} of this machine's", advice)
    else:
        yield Finding("node clock", "ok", "agrees with this machine's")
    if answer.get("apptainer"):
        yield Finding("node apptainer", "ok", answer["apptainer"])
    else:
        advice = "needed only by rules with container:; have it installed, or loaded where jobs start"
        yield Finding("node apptainer", "warn", "neither apptainer nor singularity is on PATH", advice)
    if answer.get("code") == "0":
        yield Finding("node snakemake", "ok", f"{answer.get('said')} by {cluster.command[0]}")
    else:
        said = f"{cluster.command[0]} does not work there: {answer.get('said') or answer.get('code')}"
        yield Finding("node snakemake", "fail", said, "install Snakeway in a folder that all nodes see")


def _asked(profile: Mapping[str, Any]) -> dict[str, str]:
    """Return what the profile asks for on behalf of every job: sbatch's option -> value."""
    resources = profile.get("default-resources") or []
    pairs = resources.items() if isinstance(resources, dict) else (str(each).partition("=")[::2] for each in resources)
    told = {str(name).strip(): str(value).strip().strip("'\"") for name, value in pairs}
    qos = profile.get("snakeway-slurm-qos") or profile.get("slurm-qos")
    found = {"account": told.get("slurm_account"), "partition": told.get("slurm_partition"), "qos": qos}
    return {name: str(value) for name, value in found.items() if value}


def _state(id_: str) -> str:
    """Return state and reason of a job; nothing if Slurm does not say."""
    try:
        return _ask("squeue", "--noheader", "--states=all", f"--jobs={id_}", "--format=%T|%r").strip()
    except _Silent:
        return ""


def _cancel(id_: str) -> None:
    """End the job, if it has not ended."""
    try:
        _ask("scancel", "--quiet", id_)
    except _Silent:
        return


def _ask(*argv: str) -> str:
    """Return what one of Slurm's commands prints. Raises _Silent.

    What an allocation around this process sets for its own jobs is not for this one.
    """
    foreign = ("SQUEUE_", "SACCT_", "SLURM_", "SBATCH_WAIT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign) or name == "SLURM_CONF"}
    try:
        done = subprocess.run(  # noqa: S603  Slurm's commands, with arguments of our own making and of the profile
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            env=kept | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            timeout=_CALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _Silent(f"{argv[0]} has not answered within {_CALL_S:.0f} s") from error
    except OSError as error:
        raise _Silent(f"{argv[0]} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise _Silent(said[-1] if said else f"{argv[0]} ended with code {done.returncode}")
    return done.stdout
