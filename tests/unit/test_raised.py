"""What rules' own Python code raised, from what Snakemake 9.27 printed of it."""

import pytest

from snakeway.model.failure import Bounds, Facts, Failure, FailureKind
from snakeway.targets.local import LocalDiagnosis
from snakeway.targets.slurm import SlurmDiagnosis

BOUNDS = Bounds(mem_mb=10_000, runtime_min=600)
FILE = "/data/runs/1/workflow/Snakefile"
END = """\
Exiting because a job execution failed. Look above for error messages
WorkflowError:
At least one job did not complete successfully."""


def printed(words: str, message: str = ":\n'nosuch'", rule: str = "fit", exception: str = "KeyError") -> str:
    """What the snakemake of a job printed whose code raised something."""
    place = f'  File "{FILE}", line 8, in __rule_{rule}\n'
    return f'{words}RuleException:\n{exception} in file "{FILE}", line 8{message}\n{place}{END}'


def local(stderr_tail: str, log_tail: str = "", shell: str = "") -> Failure:
    facts = Facts(rule="fit", exit_code=1, stderr_tail=stderr_tail, log_tail=log_tail, shell=shell)
    return LocalDiagnosis().diagnose(facts, BOUNDS)


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        (printed(""), "Exit code 1: KeyError: 'nosuch' (Snakefile, line 8)"),
        (printed("a word before\n"), "Exit code 1: KeyError: 'nosuch' (Snakefile, line 8)"),
        (printed("", message="."), "Exit code 1: KeyError (Snakefile, line 8)"),
        (printed("", message=":\none\ntwo"), "Exit code 1: KeyError: one (Snakefile, line 8)"),
        (printed("", message=":\n\ntwo"), "Exit code 1: KeyError: two (Snakefile, line 8)"),
        (
            printed("", rule="fit") + "\n" + printed("", rule="other"),
            "Exit code 1: KeyError: 'nosuch' (Snakefile, line 8)",
        ),
        (printed("", rule="other"), "Exit code 1: At least one job did not complete successfully."),
    ],
)
def test_the_exception_is_the_reason(text: str, summary: str) -> None:
    assert local(text).summary == summary


def test_it_says_where_it_was_raised() -> None:
    failure = local(printed(""), log_tail="fitting\n")
    assert (failure.kind, failure.file, failure.line) == (FailureKind.EXIT_CODE, FILE, 8)
    assert failure.summary.startswith("Exit code 1: KeyError")


def test_a_command_has_its_own_words() -> None:
    message = ":\nCommand 'set -euo pipefail;  fit' returned non-zero exit status 3."
    text = printed("no such sample\n", message, exception="CalledProcessError")
    failure = local(text)
    assert (failure.summary, failure.line) == ("Exit code 1: no such sample", None)
    silent = local(printed("", message, exception="CalledProcessError"))
    assert "Command 'set -euo pipefail;  fit' returned" in silent.summary


@pytest.mark.parametrize("diagnosis", [LocalDiagnosis(), SlurmDiagnosis()])
def test_want_of_memory_is_known(diagnosis: LocalDiagnosis | SlurmDiagnosis) -> None:
    text = printed("", ":\nUnable to allocate 4 GiB", exception="_ArrayMemoryError")
    failure = diagnosis.diagnose(Facts(rule="fit", exit_code=1, stderr_tail=text), BOUNDS)
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert failure.suggestion == {"set_resources": {"fit": {"mem_mb": 2000}}}
    assert "_ArrayMemoryError: Unable to allocate 4 GiB (Snakefile, line 8)" in failure.summary


def test_a_job_elsewhere_says_it_too() -> None:
    text = "localrule fit:\n    output: model\n    jobid: 0\nfitting\n" + printed("")
    failure = SlurmDiagnosis().diagnose(Facts(rule="fit", exit_code=1, stderr_tail=text), BOUNDS)
    assert failure.summary == "Exit code 1: KeyError: 'nosuch' (Snakefile, line 8)"
    assert (failure.file, failure.line) == (FILE, 8)
