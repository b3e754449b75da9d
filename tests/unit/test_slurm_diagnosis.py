"""Why jobs on Slurm failed. The logs are those of jobs on Slurm 22.05 with Snakemake 9.27."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model.failure import Bounds, Facts, Failure, FailureKind
from snakeway.model.job import Job
from snakeway.model.scheduled import Phase, Scheduled
from snakeway.settings import Settings
from snakeway.supervisor.judge import judge_job
from snakeway.targets.onnode import own_words
from snakeway.targets.slurm import SlurmDiagnosis

K = FailureKind
BOUNDS = Bounds(mem_mb=10_000, runtime_min=600)

MORE_MEMORY = {"set_resources": {"fit": {"mem_mb": 2000}}}
MORE_TIME = {"set_resources": {"fit": {"runtime": 120}}}
SAME_AGAIN: dict[str, Any] = {}

BEFORE = """\
Building DAG of jobs...
Execute 1 jobs...

[Sat Nov 21 09:59:24 2026]
localrule fit:
    output: model
    jobid: 0
    reason: Forced execution
    resources: tmpdir=/tmp, mem_mb=700
Shell command: fit data > model
"""
BEHIND = """\
RuleException:
CalledProcessError in file "/somewhere/Snakefile", line 6:
Command 'set -euo pipefail;  fit data > model' {end}.
[Sat Nov 21 09:59:24 2026]
Error in rule fit:
    message: None
Shutting down, this might take some time.
Exiting because a job execution failed. Look above for error messages
WorkflowError:
At least one job did not complete successfully.
"""
OVER_MEMORY = "slurmstepd-node1: error: Exceeded job memory limit\n"
OVER_TIME = "slurmstepd-node1: error: *** JOB 2 ON node1 CANCELLED AT 2026-11-21T09:21:41 DUE TO TIME LIMIT ***\n"


def log(words: str = "", end: str = "returned non-zero exit status 3") -> str:
    """What Slurm keeps of a job that failed of its own doing."""
    return f"{BEFORE}{words}{BEHIND.format(end=end)}"


def message(state: str) -> str:
    """What the executor plugin says of a failed job."""
    return f"SLURM-job '3' failed, SLURM status is: '{state}'. Detailed failure reason unavailable."


def refusal(said: str) -> str:
    """What the executor plugin says of a job that sbatch did not accept."""
    return f"SLURM sbatch failed. The error message was '{said}'.\n    sbatch call:\n        sbatch --wrap=oom-kill\n"


def ended(state: str, **more: Any) -> Scheduled:
    """A job that did not end well."""
    return Scheduled(state, Phase.ENDED, host="node1", succeeded=False, **more)


def judged(**facts: Any) -> Failure:
    return SlurmDiagnosis().diagnose(Facts(rule="fit", **facts), BOUNDS)


JOBS: list[tuple[dict[str, Any], FailureKind, str, dict[str, Any] | None]] = [
    # What the executor plugin says, before anybody asked Slurm.
    ({"message": message("TIMEOUT")}, K.TIME_LIMIT, "It took longer than it was allowed to; Slurm ended it", MORE_TIME),
    ({"message": message("OUT_OF_MEMORY")}, K.OUT_OF_MEMORY, "Out of memory; Slurm ended it", MORE_MEMORY),
    ({"message": message("PREEMPTED")}, K.PREEMPTED, "Slurm gave its place to a job of higher priority", SAME_AGAIN),
    ({"message": message("CANCELLED")}, K.CANCELLED, "It was cancelled in Slurm, not by this run", SAME_AGAIN),
    ({"message": message("FAILED")}, K.UNKNOWN, "no reason is known", None),
    (
        {"message": "SLURM-job '3' failed due to a node failure, SLURM status is: 'NODE_FAIL'. Failed nodes will be"},
        K.NODE_LOST,
        "The node it ran on failed",
        SAME_AGAIN,
    ),
    # What Slurm says goes before it.
    (
        {"message": message("FAILED"), "scheduler": ended("TIMEOUT"), "resources": {"runtime": 30}},
        K.TIME_LIMIT,
        "It took longer than it was allowed to (it had 30 minutes); Slurm ended it",
        {"set_resources": {"fit": {"runtime": 60}}},
    ),
    ({"scheduler": ended("DEADLINE")}, K.TIME_LIMIT, "longer", MORE_TIME),
    (
        {"scheduler": ended("OUT_OF_MEMORY", max_rss_mb=698.7), "resources": {"mem_mb": 700}},
        K.OUT_OF_MEMORY,
        "Out of memory (it had 700 MB, of which Slurm saw 699 MB in use); Slurm ended it",
        {"set_resources": {"fit": {"mem_mb": 1400}}},
    ),
    ({"scheduler": ended("OUT_OF_MEMORY"), "resources": {"mem_mb": 10_000}}, K.OUT_OF_MEMORY, "it had 10000 MB", None),
    ({"scheduler": ended("NODE_FAIL")}, K.NODE_LOST, "The node node1 failed", SAME_AGAIN),
    ({"scheduler": ended("BOOT_FAIL")}, K.NODE_LOST, "The node node1 failed", SAME_AGAIN),
    ({"scheduler": ended("PREEMPTED")}, K.PREEMPTED, "higher priority", SAME_AGAIN),
    (
        {"scheduler": ended("CANCELLED", reason="by alice")},
        K.CANCELLED,
        "It was cancelled in Slurm by alice, not by this run",
        SAME_AGAIN,
    ),
    # As long as it has not ended for Slurm, the message counts.
    ({"message": message("TIMEOUT"), "scheduler": Scheduled("RUNNING", Phase.RUNNING)}, K.TIME_LIMIT, "", MORE_TIME),
    # slurmstepd's words in the log.
    (
        {"message": message("FAILED"), "stderr_tail": BEFORE + OVER_MEMORY},
        K.OUT_OF_MEMORY,
        "Out of memory",
        MORE_MEMORY,
    ),
    (
        {"stderr_tail": f"{BEFORE}slurmstepd: error: Detected 1 oom_kill event in StepId=2.batch. Some were killed.\n"},
        K.OUT_OF_MEMORY,
        "Out of memory",
        MORE_MEMORY,
    ),
    (
        {"stderr_tail": "slurmstepd: error: StepId=2.batch exceeded memory limit (8126545 > 7340032), being killed"},
        K.OUT_OF_MEMORY,
        "Out of memory",
        MORE_MEMORY,
    ),
    (
        {
            "message": message("CANCELLED"),
            "stderr_tail": log("reading\n", "died with <Signals.SIGTERM: 15>") + OVER_MEMORY,
        },
        K.OUT_OF_MEMORY,
        "Slurm ended it: reading",
        MORE_MEMORY,
    ),
    ({"stderr_tail": BEFORE + OVER_TIME}, K.TIME_LIMIT, "longer", MORE_TIME),
    ({"scheduler": ended("CANCELLED"), "stderr_tail": OVER_TIME}, K.TIME_LIMIT, "longer", MORE_TIME),
    ({"stderr_tail": OVER_TIME.replace("TIME LIMIT", "PREEMPTION")}, K.PREEMPTED, "priority", SAME_AGAIN),
    (
        {"stderr_tail": OVER_TIME.replace("TIME LIMIT", "NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS")},
        K.NODE_LOST,
        "The node it ran on failed",
        SAME_AGAIN,
    ),
    (
        {"scheduler": ended("CANCELLED", reason="by bob"), "stderr_tail": OVER_TIME.replace(" DUE TO TIME LIMIT", "")},
        K.CANCELLED,
        "by bob",
        SAME_AGAIN,
    ),
    # The job's own doing.
    ({"scheduler": ended("FAILED", exit_code=1), "stderr_tail": log()}, K.EXIT_CODE, "Exit code 3", None),
    ({"stderr_tail": log("no such sample\n")}, K.EXIT_CODE, "Exit code 3: no such sample", None),
    ({"log_tail": "in its log\n", "stderr_tail": log("beside it\n")}, K.EXIT_CODE, "Exit code 3: in its log", None),
    ({"stderr_tail": log("I exceeded memory limit 3 times\n")}, K.EXIT_CODE, "3 times", None),
    ({"stderr_tail": log("MemoryError\n")}, K.OUT_OF_MEMORY, "Out of memory: MemoryError", MORE_MEMORY),
    ({"stderr_tail": log(end="returned non-zero exit status 139")}, K.SIGNAL, "SIGSEGV ended it", None),
    ({"stderr_tail": log(end="died with <Signals.SIGKILL: 9>")}, K.SIGNAL, "SIGKILL ended it", None),
    (
        {"stderr_tail": log("bash: line 1: fit: command not found\n", "returned non-zero exit status 127")},
        K.EXIT_CODE,
        "'fit' is not installed where the job ran",
        None,
    ),
    (
        {
            "stderr_tail": f"{BEFORE}Waiting at most 2 seconds for missing files:\nmodel (missing locally)\n"
            'MissingOutputException in rule fit in file "/somewhere/Snakefile", line 11:\nJob 0 completed\n'
            "model (missing locally, parent dir not present)\nShutting down, this might take some time.\n"
        },
        K.MISSING_OUTPUT,
        "The command ended well but did not write model",
        None,
    ),
    # sbatch refused it.
    (
        {
            "message": refusal(
                "sbatch: error: Batch job submission failed: Invalid account or account/partition combination"
            )
        },
        K.REFUSED,
        "Slurm refused the job: Invalid account or account/partition combination",
        None,
    ),
    (
        {
            "message": refusal(
                "sbatch: error: a\nsbatch: error: Batch job submission failed: Requested node configuration."
            )
        },
        K.REFUSED,
        "Slurm refused the job: Requested node configuration",
        None,
    ),
    ({"message": "SLURM sbatch failed. "}, K.REFUSED, "Slurm refused the job: no reason is known", None),
]


@pytest.mark.parametrize(("facts", "kind", "summary", "suggestion"), JOBS)
def test_jobs(facts: dict[str, Any], kind: FailureKind, summary: str, suggestion: dict[str, Any] | None) -> None:
    failure = judged(**facts)
    assert (failure.kind, failure.suggestion) == (kind, suggestion)
    assert summary in failure.summary


def test_exit_code_and_signal_are_those_of_the_command() -> None:
    failure = judged(exit_code=1, scheduler=ended("FAILED", exit_code=1), stderr_tail=log())
    assert (failure.exit_code, failure.signal, failure.host) == (3, None, "node1")
    killed = judged(exit_code=1, stderr_tail=log(end="returned non-zero exit status 137"))
    assert (killed.exit_code, killed.signal, killed.host) == (137, 9, None)
    assert judged(exit_code=None, message=message("FAILED")).exit_code is None


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"scheduler": ended("FAILED", exit_code=3, reason="NonZeroExitCode")}, "FAILED NonZeroExitCode, exit code 3"),
        ({"scheduler": ended("FAILED", exit_code=0, signal=9)}, "FAILED, signal 9"),
        ({"scheduler": ended("CANCELLED", reason="by alice")}, "CANCELLED by alice"),
        ({"scheduler": ended("TIMEOUT")}, "TIMEOUT"),
        ({"message": message("TIMEOUT")}, "TIMEOUT"),
        ({"message": ""}, None),
        ({"message": refusal("sbatch: error: Invalid qos")}, "Invalid qos"),
    ],
)
def test_slurm_is_quoted(facts: dict[str, Any], words: str | None) -> None:
    assert judged(**facts).scheduler == words


def test_where_slurm_keeps_what_the_job_wrote_stands_with_the_failure() -> None:
    settings = Settings.model_construct(suggest_mem_mb_max=10_000, suggest_runtime_min_max=600)
    job = Job(7, rule="fit", message=message("TIMEOUT"), scheduler_log=".snakemake/slurm_logs/rule_fit/3.log")
    failure = judge_job(SlurmDiagnosis(), settings, job, None, log_tail="", stderr_tail="")
    assert (failure.kind, failure.stderr) == (K.TIME_LIMIT, job.scheduler_log)
    alone = Job(7, rule="fit", logs=["3.log"], scheduler_log="3.log")  # a rule without a log of its own
    failure = judge_job(SlurmDiagnosis(), settings, alone, None, log_tail=log("no such sample\n"), stderr_tail="")
    assert failure.summary == "Exit code 3: no such sample"


@pytest.mark.parametrize(
    ("text", "shell", "own"),
    [
        ("", "", ""),
        ("only words\n", "", "only words\n"),  # the end of a longer log
        (log("one\ntwo\n"), "fit data > model", "one\ntwo\n"),
        (log("one\n") + OVER_TIME, "", "one\n"),
        (
            BEFORE.replace("fit data > model", "\n  fit data \\\n  > model\n  ") + "one\n",
            "\n  fit data \\\n  > model\n  ",
            "one\n",
        ),
        (BEFORE.replace("Shell command: fit data > model\n", "") + "one\n", "", "one\n"),
        ("Job 0: this is a message\nReason: Forced execution\nShell command: None\none\n", "", "one\n"),
        (BEFORE + "Activating conda environment: .snakemake/conda/1\none\n", "", "one\n"),
        (
            BEFORE + "one\n[Sat Nov 21 09:59:24 2026]\nFinished jobid: 0 (Rule: fit)\n1 of 1 steps (100%) done\n",
            "",
            "one\n",
        ),
    ],
)
def test_own_words(text: str, shell: str, own: str) -> None:
    assert own_words(text, shell) == own


@given(
    st.builds(Facts, rule=st.just("fit"), message=st.text(), log_tail=st.text(), stderr_tail=st.text(), shell=st.text())
)
def test_no_words_are_too_strange(facts: Facts) -> None:
    SlurmDiagnosis().diagnose(facts, BOUNDS)
