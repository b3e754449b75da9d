"""What rules' own Python code raised, from what Snakemake 9.27 printed of it."""

from collections.abc import Callable

import pytest

from snakeway.model.failure import Bounds, Facts, Failure, FailureKind
from snakeway.targets.aws_batch import AwsBatchDiagnosis
from snakeway.targets.local import LocalDiagnosis
from snakeway.targets.slurm import SlurmDiagnosis

BOUNDS = Bounds(mem_mb=10_000, runtime_min=600)
FILE = "/data/runs/1/workflow/Snakefile"
END = """\
Exiting because a job execution failed. Look above for error messages
WorkflowError:
At least one job did not complete successfully.
"""
BEFORE = "localrule fit:\n    output: model\n    jobid: 0\n"
KEY_ERROR = "KeyError: 'nosuch' (Snakefile, line 8)"
CALLED = "CalledProcessError: Command 'set -euo pipefail; fit' returned non-zero exit status 3 (Snakefile, line 8)"


def raising(message: str = ":\n'nosuch'", rule: str | None = "fit", exception: str = "KeyError") -> str:
    """What the snakemake of a job with `run:` printed whose own code raised something."""
    place = f'  File "{FILE}", line 8, in __rule_{rule}\n' if rule else ""
    return f'RuleException:\n{exception} in file "{FILE}", line 8{message}\n{place}{END}'


def calling(command: str) -> str:
    """What it printed when a command of its `shell()` failed: without a traceback."""
    called = f"Command 'set -euo pipefail;  {command}' returned non-zero exit status 3."
    return f'RuleException:\nCalledProcessError in file "{FILE}", line 8:\n{called}\n{END}'


def local(stderr_tail: str, log_tail: str = "", code: int = 1, signal: int | None = None) -> Failure:
    facts = Facts(rule="fit", exit_code=code, signal=signal, stderr_tail=stderr_tail, log_tail=log_tail)
    return LocalDiagnosis().diagnose(facts, BOUNDS)


def on_slurm(log: str, log_tail: str = "") -> Failure:
    facts = Facts(rule="fit", exit_code=1, stderr_tail=BEFORE + log, log_tail=log_tail)
    return SlurmDiagnosis().diagnose(facts, BOUNDS)


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        (raising(), KEY_ERROR),
        ("a word before\n" + raising(), KEY_ERROR),
        (raising(message="."), "KeyError (Snakefile, line 8)"),
        (raising(message=":\none\ntwo"), "KeyError: one (Snakefile, line 8)"),
        (raising(message=":\n\n two"), "KeyError: two (Snakefile, line 8)"),
        (raising(message=":\n "), "KeyError (Snakefile, line 8)"),
        (raising(message=":\n" + 3000 * "x"), "KeyError: " + 290 * "x"),
        (raising(rule=None), KEY_ERROR),  # raised in Snakemake's own code, as by shell("{nosuch}")
        (raising(rule="base"), KEY_ERROR),  # use rule base as fit with:
        (raising() + raising(rule="other", exception="ValueError"), KEY_ERROR),
        (raising(rule="other", exception="ValueError") + raising(), KEY_ERROR),
        (raising() + raising(), KEY_ERROR),
    ],
)
def test_the_exception_is_the_reason(text: str, summary: str) -> None:
    assert local(text).summary == f"Exit code 1: {summary}"


@pytest.mark.parametrize(
    "text",
    [
        raising() + raising(message=":\n'other'"),
        calling("fit") + raising(),
        raising(rule="a") + raising(rule="b"),
    ],
)
def test_of_several_none_is_taken_for_the_job_s_own(text: str) -> None:
    failure = local(text)
    assert (failure.file, failure.line) == (None, None)
    assert local(text, log_tail="the log knows").summary == "Exit code 1: the log knows"


def test_it_says_where_it_was_raised() -> None:
    failure = local(raising(), log_tail="fitting\n")
    assert (failure.kind, failure.file, failure.line) == (FailureKind.EXIT_CODE, FILE, 8)
    assert failure.summary == f"Exit code 1: {KEY_ERROR}"


@pytest.mark.parametrize(("code", "signal"), [(137, 9), (3, None)])
def test_what_ended_otherwise_raised_nothing(code: int, signal: int | None) -> None:
    failure = local(raising(), code=code, signal=signal)
    assert (failure.file, failure.line) == (None, None)


def test_a_command_has_its_own_words() -> None:
    assert local("no such sample\n" + calling("fit")).summary == "Exit code 1: no such sample"
    assert local(calling("fit"), log_tail="the log knows").summary == "Exit code 1: the log knows"
    assert local(calling("fit")).summary == f"Exit code 1: {CALLED}"
    assert local(calling("\n   fit \n")).summary == "Exit code 1: " + CALLED.replace("fit'", "fit '")


def test_a_command_elsewhere_has_its_own_words() -> None:
    assert on_slurm("no such sample\n" + calling("fit")).summary == "Exit code 3: no such sample"
    assert on_slurm(calling("fit"), log_tail="the log knows").summary == "Exit code 3: the log knows"
    assert on_slurm(calling("fit")).summary == f"Exit code 3: {CALLED}"


@pytest.mark.parametrize("words", ["", "some word\n"])
@pytest.mark.parametrize("judge", [local, on_slurm])
def test_what_was_called_tells_no_kind(judge: Callable[[str], Failure], words: str) -> None:
    assert judge(words + calling("docker run --oom-kill-disable image")).kind is FailureKind.EXIT_CODE


@pytest.mark.parametrize("diagnosis", [LocalDiagnosis(), SlurmDiagnosis()])
def test_want_of_memory_is_known(diagnosis: LocalDiagnosis | SlurmDiagnosis) -> None:
    text = raising(":\nUnable to allocate 4 GiB", exception="_ArrayMemoryError")
    failure = diagnosis.diagnose(Facts(rule="fit", exit_code=1, stderr_tail=text), BOUNDS)
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert failure.suggestion == {"set_resources": {"fit": {"mem_mb": 2000}}}
    assert "_ArrayMemoryError: Unable to allocate 4 GiB (Snakefile, line 8)" in failure.summary


@pytest.mark.parametrize("written_for", ["fit", "base", None])
def test_a_job_elsewhere_says_it_too(written_for: str | None) -> None:
    failure = on_slurm("fitting\n" + raising(rule=written_for))
    assert failure.summary == f"Exit code 1: {KEY_ERROR}"
    assert (failure.file, failure.line) == (FILE, 8)


def test_the_rule_may_be_named_behind_only() -> None:
    text = raising(rule="base") + "[Sat Nov 21 09:59:24 2026]\nError in rule fit:\n    message: None\n"
    assert SlurmDiagnosis().diagnose(Facts(rule="fit", exit_code=1, stderr_tail=text), BOUNDS).line == 8


def test_a_command_beside_is_not_blamed_for_what_another_raised() -> None:
    facts = Facts(rule="fit", exit_code=1, shell="fit", log_tail="the log knows", stderr_tail=raising(rule="other"))
    assert LocalDiagnosis().diagnose(facts, BOUNDS).summary == "Exit code 1: the log knows"


@pytest.mark.parametrize("beginning", ["", BEFORE + BEFORE.replace("fit", "other")])
def test_jobs_of_a_group_have_their_own(beginning: str) -> None:
    """Its log has the words of all of them; its end alone does not say of how many."""
    log = beginning + raising(rule="other", exception="MemoryError")
    fit, other = (
        SlurmDiagnosis().diagnose(Facts(rule=rule, exit_code=1, stderr_tail=log), BOUNDS) for rule in ("fit", "other")
    )
    assert (fit.kind, fit.line) == (FailureKind.EXIT_CODE, None)
    assert (other.kind, other.line) == (FailureKind.OUT_OF_MEMORY, 8)


@pytest.mark.parametrize(("code", "signal"), [(1, None), (3, None), (137, 9)])
def test_an_exception_may_quote_a_command(code: int, signal: int | None) -> None:
    text = raising(":\nbwa failed: Command 'bwa' returned non-zero exit status 3.", exception="ValueError")
    facts = Facts(rule="fit", exit_code=code, signal=signal, stderr_tail=BEFORE + text)
    failure = SlurmDiagnosis().diagnose(facts, BOUNDS)
    assert failure.exit_code == 1
    assert failure.summary.startswith("Exit code 1: ValueError: bwa failed: Command 'bwa'")


def test_what_aws_says_of_the_container_is_not_more() -> None:
    message = "Job 1 failed: Essential container in task exited"
    facts = Facts(rule="fit", message=message, stderr_tail=BEFORE + raising())
    assert AwsBatchDiagnosis().diagnose(facts, BOUNDS).summary == f"Exit code 1: {KEY_ERROR}"
