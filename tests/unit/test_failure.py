"""Failures: kinds and suggestions of failed jobs, how suggestions are put together, what Snakemake complains of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model import complaint
from snakeway.model import job as job_rules
from snakeway.model.attempt import Overrides
from snakeway.model.failure import TRANSIENT, Bounds, Facts, Failure, FailureKind, apply, combine, more
from snakeway.model.storage import StorageTrouble
from snakeway.targets import diagnosis_for

K = FailureKind
BOUNDS = Bounds(mem_mb=10_000, runtime_min=600)


def judged(**facts: Any) -> Failure:
    return diagnosis_for("local").diagnose(Facts(rule="fit", **facts), BOUNDS)


MORE_MEMORY = {"set_resources": {"fit": {"mem_mb": 2000}}}

JOBS: list[tuple[dict[str, Any], FailureKind, str, dict[str, Any] | None]] = [
    ({"exit_code": 3, "log_tail": "no such sample\n"}, K.EXIT_CODE, "Exit code 3: no such sample", None),
    ({"exit_code": 1}, K.EXIT_CODE, "Exit code 1", None),
    (
        {"exit_code": 127, "stderr_tail": "/usr/bin/bash: line 1: bwa: command not found"},
        K.EXIT_CODE,
        "'bwa' is not installed",
        None,
    ),
    ({"exit_code": 127, "stderr_tail": "sh: 1: bwa: not found"}, K.EXIT_CODE, "'bwa' is not installed", None),
    ({"exit_code": 127}, K.EXIT_CODE, "a program that it calls is not installed", None),
    ({"exit_code": 126, "log_tail": "bash: ./x: Permission denied"}, K.EXIT_CODE, "may not be executed", None),
    ({"exit_code": 139, "signal": 11}, K.SIGNAL, "SIGSEGV ended it", None),
    ({"exit_code": 137, "signal": 9}, K.SIGNAL, "who sent it is not known", None),
    ({"exit_code": 137, "signal": 9, "oom_killed": False}, K.SIGNAL, "not the kernel for want of memory", None),
    ({"exit_code": 137, "signal": 9, "oom_killed": True}, K.OUT_OF_MEMORY, "the kernel ended it", MORE_MEMORY),
    ({"exit_code": 1, "log_tail": "MemoryError"}, K.OUT_OF_MEMORY, "Out of memory", MORE_MEMORY),
    (
        {"exit_code": 1, "log_tail": "MemoryError: x", "resources": {"mem_mb": 400}},
        K.OUT_OF_MEMORY,
        "it had 400 MB",
        {"set_resources": {"fit": {"mem_mb": 800}}},
    ),
    (
        {"exit_code": 1, "stderr_tail": "std::bad_alloc", "resources": {"mem_mb": 9_000}},
        K.OUT_OF_MEMORY,
        "std::bad_alloc",
        {"set_resources": {"fit": {"mem_mb": 10_000}}},
    ),
    ({"exit_code": 1, "log_tail": "MemoryError", "resources": {"mem_mb": 10_000}}, K.OUT_OF_MEMORY, "10000 MB", None),
    ({"exit_code": 1, "log_tail": "Error: cannot allocate vector of size 4.0 Gb"}, K.OUT_OF_MEMORY, "", MORE_MEMORY),
    ({"exit_code": 1, "log_tail": "java.lang.OutOfMemoryError: Java heap"}, K.OUT_OF_MEMORY, "", MORE_MEMORY),
    ({"exit_code": 1, "log_tail": "torch: CUDA out of memory"}, K.EXIT_CODE, "CUDA out of memory", None),
    (
        {"exit_code": 124, "shell": "timeout 5m fit", "resources": {"runtime": 5}},
        K.TIME_LIMIT,
        "it had 5 minutes",
        {"set_resources": {"fit": {"runtime": 10}}},
    ),
    ({"exit_code": 124, "shell": "timeout 9m fit", "resources": {"runtime": 5}}, K.TIME_LIMIT, "5 minutes", None),
    ({"exit_code": 124, "shell": "fit"}, K.EXIT_CODE, "Exit code 124", None),
    (
        {"exit_code": 152, "signal": 24, "resources": {"runtime": 400}},
        K.TIME_LIMIT,
        "400 minutes",
        {"set_resources": {"fit": {"runtime": 600}}},
    ),
    ({"exit_code": 1, "log_tail": "cp: x: No space left on device"}, K.NO_SPACE, "No space left on device", None),
    ({"exit_code": 255, "stderr_tail": "FATAL: Unable to pull docker://x"}, K.IMAGE_PULL, "Unable to pull", None),
    ({"exit_code": 1, "log_tail": "botocore: EndpointConnectionError: s3"}, K.STORAGE_UNREACHABLE, "s3", {}),
    (
        {"message": "Failed s3://b/k\nClientError: An error occurred (403) when calling the HeadObject operation"},
        K.STORAGE_REFUSED,
        "(403) when calling the HeadObject operation",
        None,
    ),
    (
        {"message": "MissingOutputException in rule fit:\nwait:\na.txt (missing locally, parent dir not present)"},
        K.MISSING_OUTPUT,
        "did not write a.txt",
        None,
    ),
    (
        {"exit_code": 1, "message": "RuleException:\nCommand 'grep MemoryError x' returned non-zero exit status 1."},
        K.EXIT_CODE,
        "",
        None,
    ),
    ({"message": "The job was started again"}, K.UNKNOWN, "The job was started again", None),
    ({}, K.UNKNOWN, "no reason is known", None),
]


@pytest.mark.parametrize(("facts", "kind", "words", "suggestion"), JOBS)
def test_failed_jobs_are_judged(
    facts: dict[str, Any], kind: FailureKind, words: str, suggestion: dict[str, Any] | None
) -> None:
    failure = judged(**facts)
    assert (failure.kind, failure.suggestion) == (kind, suggestion)
    assert words in failure.summary
    assert "\n" not in failure.summary


@given(st.builds(Facts, rule=st.just("fit"), exit_code=st.none() | st.integers(0, 255), log_tail=st.text()))
def test_every_failure_is_judged(facts: Facts) -> None:
    failure = diagnosis_for("anything").diagnose(facts, BOUNDS)
    assert failure.summary
    assert Failure(**{**failure.to_json(), "kind": failure.kind}) == failure


def test_a_suggestion_is_never_less_than_the_job_had() -> None:
    assert more("fit", "mem_mb", 500, at_most=400, otherwise=1) is None
    assert more("fit", "mem_mb", "many", at_most=400, otherwise=100) == {"set_resources": {"fit": {"mem_mb": 100}}}
    assert more("fit", "mem_mb", True, at_most=400, otherwise=100) == {"set_resources": {"fit": {"mem_mb": 100}}}


def test_suggestions_for_one_rule_become_the_largest() -> None:
    a, b = {"set_resources": {"fit": {"mem_mb": 8, "runtime": 3}}}, {"set_resources": {"fit": {"mem_mb": 4}}}
    c = {"set_resources": {"plot": {"mem_mb": 2}}}
    assert combine([a, None, b, {}, c]) == {
        "set_resources": {"fit": {"mem_mb": 8, "runtime": 3}, "plot": {"mem_mb": 2}}
    }
    assert combine([None, {}]) == {}
    assert combine([None, None]) is None


def test_what_is_asked_for_wins_over_a_suggestion_and_that_over_the_attempt_before() -> None:
    before = Overrides({"fit": {"mem_mb": 1, "disk_mb": 5}, "old": {"mem_mb": 7}}, {"fit": 2}, targets=["x"])
    asked = Overrides({"fit": {"mem_mb": 9}}, {"plot": 3}, until=["plot"])
    made = apply({"set_resources": {"fit": {"mem_mb": 2}, "plot": {"mem_mb": 4}}}, before, asked)
    assert made.set_resources == {"fit": {"mem_mb": 9, "disk_mb": 5}, "old": {"mem_mb": 7}, "plot": {"mem_mb": 4}}
    assert made.set_threads == {"fit": 2, "plot": 3}
    assert (made.targets, made.until) == ([], ["plot"])


def test_a_run_says_how_many_jobs_of_which_rules_failed_why() -> None:
    failed = [("fit", "out_of_memory", None)] * 3 + [("plot", "exit_code", None), ("plot", None, None)]
    assert (
        job_rules.sentence(failed, 48)
        == "5 of 48 jobs failed: fit (3: out of memory), plot (2: 1 exit code, 1 reason unknown)."
    )


COMPLAINTS = [
    (
        "SyntaxError",
        'SyntaxError in file "/runs/1/workflow/Snakefile", line 2:\nUnexpected keyword shel in rule definition:\nNone',
        K.INVALID_WORKFLOW,
        "SyntaxError in file Snakefile, line 2: Unexpected keyword shel in rule definition:",
        ("/runs/1/workflow/Snakefile", 2),
    ),
    (
        "NameError",
        "NameError in file \"/x/Snakefile\", line 1:\nname 'foo' is not defined\n  File ..., line 1",
        K.INVALID_WORKFLOW,
        "name 'foo' is not defined",
        ("/x/Snakefile", 1),
    ),
    (
        "KeyError",
        "KeyError in file \"/x/Snakefile\", line 1:\n'samples'",
        K.INVALID_WORKFLOW,
        "'samples'",
        ("/x/Snakefile", 1),
    ),
    (
        "MissingInputException",
        'MissingInputException in rule a in file "/x/Snakefile", line 1:\nMissing input files:\n    nope.txt',
        K.MISSING_INPUT,
        "nope.txt",
        ("/x/Snakefile", 1),
    ),
    (
        "MissingInputException",
        "Missing input files for rule a:\n  affected files:\n    s3://bucket/key (storage)",
        K.STORAGE_UNREACHABLE,
        "either it is not there, or the storage does not answer",
        (None, None),
    ),
    (
        "AmbiguousRuleException",
        "Rules a and b are ambiguous for the file x.txt.",
        K.INVALID_WORKFLOW,
        "ambiguous",
        (None, None),
    ),
    ("LockException", "LockException:\nError: Directory cannot be locked.", K.LOCKED, "removes the lock", (None, None)),
    (
        "WorkflowError",
        "WorkflowError in file \"/x/Snakefile\", line 3:\nError validating config file.\nValidationError: 'n' is wrong",
        K.INVALID_CONFIG,
        "'n' is wrong",
        ("/x/Snakefile", 3),
    ),
    (
        "WorkflowError",
        'WorkflowError in file "/x/Snakefile", line 2:\nConfig file is not valid JSON or YAML. In case of YAML,',
        K.INVALID_WORKFLOW,
        "Config file is not valid JSON or YAML",
        ("/x/Snakefile", 2),
    ),
    (
        "WorkflowError",
        'WorkflowError in file "/x/Snakefile", line 2:\nConfig file must be given as JSON or YAML with keys at top',
        K.INVALID_WORKFLOW,
        "with keys at top",
        ("/x/Snakefile", 2),
    ),
    (
        "WorkflowError",
        'WorkflowError in file "/x/Snakefile", line 2:\nWorkflow defines configfile a.yaml but it is not present or'
        " accessible (full checked path: /x/a.yaml).",
        K.INVALID_WORKFLOW,
        "a.yaml but it is not present",
        ("/x/Snakefile", 2),
    ),
    ("WorkflowError", "OSError: [Errno 28] No space left on device", K.NO_SPACE, "No space left", (None, None)),
    ("WorkflowError", "Failed to pull singularity image from docker://x", K.IMAGE_PULL, "docker://x", (None, None)),
    (
        "WorkflowError",
        'WorkflowError in file "/x/Snakefile", line 1:\nError applying default storage provider s3. Make sure'
        " to provide a valid --default-storage-prefix (see https://x). query $SNAKEMAKE_S3_PREFIX/a.txt is invalid: no",
        K.INVALID_TARGET,
        "No place for files is named: set SNAKEMAKE_S3_PREFIX",
        (None, None),
    ),
    (
        "WorkflowError",
        "Error applying default storage provider s3. Make sure. query my place/1/a.txt is invalid: must start with s3",
        K.INVALID_TARGET,
        "The place for files, 'my place/1', is not in a bucket",
        (None, None),
    ),
    (
        "WorkflowError",
        "WorkflowError:\nThe following required arguments are missing for plugin x-y: --x-y-queue (or environment"
        " variable SNAKEMAKE_X_Y_QUEUE).",
        K.INVALID_TARGET,
        "set SNAKEMAKE_X_Y_QUEUE where snakemake is started, for a server in its environment, or set x-y-queue",
        (None, None),
    ),
    ("ValueError", "ValueError:\nInvalid endpoint: here", K.INVALID_TARGET, "Invalid endpoint: here", (None, None)),
    (
        "WorkflowError",
        'WorkflowError:\n--container-image is $X, but no such environment variable is set.\n  File "/x/y.py", line 8',
        K.INVALID_TARGET,
        "--container-image is $X",
        (None, None),
    ),
    ("Whatever", "", K.UNKNOWN, "Whatever", (None, None)),
    ("", "", K.UNKNOWN, "no reason is known", (None, None)),
]


@pytest.mark.parametrize(("exception", "message", "kind", "words", "place"), COMPLAINTS)
def test_complaints_are_judged(
    exception: str, message: str, kind: FailureKind, words: str, place: tuple[str | None, int | None]
) -> None:
    failure = complaint.diagnose(exception, message)
    assert failure.kind is kind
    assert words in failure.summary
    assert (failure.file, failure.line) == place
    assert "\n" not in failure.summary


CRASH = """
  File "/env/snakemake/parser.py", line 233, in colon
    self.error(f"Colon expected after keyword {self.keyword}.", token)

  File "/env/snakemake/parser.py", line 181, in error
    raise SyntaxError(msg, (self.snakefile.path, lineno(token), None, None))

  File "/runs/x/workflow/Snakefile", line 2

SyntaxError: Colon expected after keyword input.


During handling of the above exception, another exception occurred:


Traceback (most recent call last):

  File "/env/snakemake/exceptions.py", line 184, in print_exception
    format_exception_to_string(ex, linemaps),

KeyError: 2
"""


def test_a_mistake_that_snakemake_dies_of_telling_is_told() -> None:
    failure = complaint.of_log(CRASH)
    assert failure is not None
    assert failure.summary == "SyntaxError in file Snakefile, line 2: Colon expected after keyword input."
    assert (failure.kind, failure.file, failure.line) == (K.INVALID_WORKFLOW, "/runs/x/workflow/Snakefile", 2)


@pytest.mark.parametrize(
    "log",
    [
        "",
        "SyntaxError: in a job's own words\n",
        CRASH.replace("print_exception", "run_job"),
        CRASH.replace("During handling", "In spite"),
        CRASH.replace("SyntaxError", "Complaint"),
        "During handling of the above exception, print_exception",
    ],
)
def test_another_log_tells_of_no_such_mistake(log: str) -> None:
    assert complaint.of_log(log) is None


def test_a_log_that_tells_of_a_full_disk_is_believed_where_events_tell_nothing() -> None:
    log = "rule a:\ncat: write error: No space left on device\n"
    assert complaint.of_log(log) is None  # a job's own words, which the workflow may have passed over
    log += "snakeway: cannot write events to e.ndjson: No space left on device\nExiting because a job failed.\n"
    failure = complaint.of_log(log)
    assert failure is not None
    assert failure.kind is K.NO_SPACE
    assert failure.summary == "snakeway: cannot write events to e.ndjson: No space left on device"


def test_of_a_long_line_about_a_full_disk_the_end_is_kept() -> None:
    error = "OSError: [Errno 28] No space left on device"
    bar = "\r".join(f"{percent}%" for percent in range(99))
    for before, after in ((f"{bar}\r", f"\r{bar}"), ("x" * 600 + ": ", ""), ("", "!" * 600)):
        failure = complaint.of_log(f"{before}{error}{after}\r\n")
        assert failure is not None
        assert error in failure.summary
        assert "%" not in failure.summary


MISSING = "Missing input files for rule a:\n  affected files:\n    s3://bucket/key (in storage)"


def test_what_storage_says_is_the_reason() -> None:
    failure = complaint.diagnose("MissingInputException", MISSING, StorageTrouble("NoSuchBucket", 404, "bucket"))
    assert (failure.kind, failure.suggestion, failure.line) == (K.STORAGE_REFUSED, None, None)
    assert "Missing input" not in failure.summary
    failure = complaint.diagnose("MissingInputException", MISSING, StorageTrouble("EndpointConnectionError"))
    assert (failure.kind, failure.suggestion) == (K.STORAGE_UNREACHABLE, {})


def test_a_file_that_is_missing_in_a_storage_that_is_well_is_missing() -> None:
    failure = complaint.diagnose("MissingInputException", MISSING, StorageTrouble("", None, "bucket"))
    assert (failure.kind, failure.suggestion) == (K.MISSING_INPUT, None)
    assert failure.summary.endswith("s3://bucket/key (in storage)")


def test_words_for_a_person() -> None:
    told = {"exception": "MissingInputException", "message": MISSING, "storage": None}
    assert complaint.words(told) == MISSING
    assert complaint.words({"exception": "X", "message": ""}) == "X"
    assert complaint.words({**told, "storage": {"code": ""}}) == MISSING
    assert "There is no bucket b" in complaint.words({**told, "storage": {"code": "NoSuchBucket", "bucket": "b"}})


@given(st.text(), st.text())
def test_every_complaint_is_judged(exception: str, message: str) -> None:
    assert complaint.diagnose(exception, message).summary


def test_what_is_transient_is_cured_by_the_same_again() -> None:
    assert K.NODE_LOST in TRANSIENT
    assert K.EXIT_CODE not in TRANSIENT


@pytest.mark.parametrize("text", [" in file " * 8000, ' in file "a", line ' + "1" * 5000, "storage object " * 4000])
def test_long_and_odd_texts_are_judged_at_once(text: str) -> None:
    assert complaint.diagnose("X", text).line is None
    assert judged(exit_code=1, message=text, log_tail=text[:8000]).summary
