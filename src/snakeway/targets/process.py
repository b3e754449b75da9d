"""Judges a failed job by how its process ended and by its last words. Every target falls back on this.

The words are those that widely used programs and languages write when they fail; each pattern names its origin.
"""

import re

from snakeway.model.failure import NO_SPACE_WORDS, TRANSIENT, Bounds, Facts, Failure, FailureKind, more, signal_name
from snakeway.model.job import last_words
from snakeway.targets.raised import without_closing

DEFAULT_MEM_MB = 1000  # Snakemake's own default of a job with small inputs
DEFAULT_RUNTIME_MIN = 60
_TIMEOUT_CODE = 124  # of coreutils' timeout
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # POSIX shells
_SIGKILL, _SIGXCPU = 9, 24
LONGEST_WORDS = 300

_GPU = re.compile(r"CUDA (?:error: )?out of memory|CUDA_ERROR_OUT_OF_MEMORY|HIP out of memory")  # no matter of mem_mb
_WORDS: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    (
        FailureKind.OUT_OF_MEMORY,
        re.compile(
            r"\bMemoryError\b"  # Python; numpy: _ArrayMemoryError
            r"|_ArrayMemoryError"
            r"|std::bad_alloc"  # C++
            r"|java\.lang\.OutOfMemoryError"
            r"|cannot allocate vector of size"  # R
            r"|[Cc]annot allocate memory"  # errno ENOMEM
            r"|[Mm]emory exhausted"  # glibc, GNU tools
            r"|fatal error: runtime: out of memory"  # Go
            r"|memory allocation of \d+ bytes failed"  # Rust
            r"|[Oo]ut of memory"  # perl and many others
            r"|oom[-_ ]kill",  # schedulers and container engines
        ),
    ),
    (FailureKind.NO_SPACE, re.compile(NO_SPACE_WORDS)),
    (
        FailureKind.IMAGE_PULL,
        re.compile(
            r"Failed to pull singularity image"  # Snakemake
            r"|Unable to pull |while making image from oci registry"  # Apptainer
            r"|ErrImagePull|ImagePullBackOff"  # Kubernetes
            r"|CannotPullContainerError"  # AWS
            r"|manifest (?:for \S{1,300} )?(?:unknown|not found)"  # registries
        ),
    ),
    (
        FailureKind.STORAGE_UNREACHABLE,
        re.compile(r"EndpointConnectionError|Could not connect to the endpoint URL|ConnectTimeoutError"),  # botocore
    ),
    (
        FailureKind.STORAGE_REFUSED,
        re.compile(  # botocore, of S3's operations on objects
            r"An error occurred \((?:403|AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId|ExpiredToken"
            r"|NoSuchBucket)\) when calling the (?:HeadObject|GetObject|PutObject|ListObjects(?:V2)?|CreateBucket"
            r"|CreateMultipartUpload) "
        ),
    ),
)
_NOT_FOUND_WORDS = re.compile(r"(?:^|: )([^\s:]+): (?:command )?not found", re.MULTILINE)  # bash, dash
_COMMAND = "\nCommand '"  # what follows is what was called, not what it said
_MISSING_FILE = re.compile(r"^(\S.*?) \(missing locally", re.MULTILINE)


def by_process(facts: Facts, bounds: Bounds) -> Failure:
    """Judge one failed job; pure."""
    kind = _kind(facts)
    raised = facts.raised
    return Failure(
        kind=kind,
        summary=_summary(kind, facts),
        exit_code=facts.exit_code,
        signal=facts.signal,
        host=facts.host,
        file=raised.file if raised else None,
        line=raised.line if raised else None,
        suggestion=_suggestion(kind, facts, bounds),
    )


def own_last_words(facts: Facts) -> str:
    """Return the line that says most about why the job failed; empty if it said nothing."""
    own = facts.log_tail or without_closing(facts.stderr_tail)
    return (facts.raised.words if facts.raised else last_words(own, None))[:LONGEST_WORDS]


def _kind(facts: Facts) -> FailureKind:
    if facts.message.startswith("MissingOutputException"):
        return FailureKind.MISSING_OUTPUT
    if facts.signal == _SIGKILL and facts.oom_killed:
        return FailureKind.OUT_OF_MEMORY
    raised = facts.raised.words if facts.raised and not facts.raised.of_a_command else ""
    told = "\n".join((facts.log_tail, facts.stderr_tail, raised, facts.message.partition(_COMMAND)[0]))
    for kind, words in _WORDS:
        if words.search(told) and not (kind is FailureKind.OUT_OF_MEMORY and _GPU.search(told)):
            return kind
    if facts.signal == _SIGXCPU or (facts.exit_code == _TIMEOUT_CODE and "timeout" in facts.shell):
        return FailureKind.TIME_LIMIT
    if facts.signal is not None:
        return FailureKind.SIGNAL
    return FailureKind.UNKNOWN if facts.exit_code is None else FailureKind.EXIT_CODE


def _suggestion(kind: FailureKind, facts: Facts, bounds: Bounds) -> dict[str, object] | None:
    if kind is FailureKind.OUT_OF_MEMORY:
        had = facts.resources.get("mem_mb")
        return more(facts.rule, "mem_mb", had, at_most=bounds.mem_mb, otherwise=2 * DEFAULT_MEM_MB)
    if kind is FailureKind.TIME_LIMIT:
        had = facts.resources.get("runtime")
        if facts.signal is None and str(had) not in facts.shell:
            return None  # the limit of the command itself does not come from the resource
        return more(facts.rule, "runtime", had, at_most=bounds.runtime_min, otherwise=2 * DEFAULT_RUNTIME_MIN)
    return {} if kind in TRANSIENT else None


def _summary(kind: FailureKind, facts: Facts) -> str:
    words = own_last_words(facts)
    said = f": {words}" if words else ""
    match kind:
        case FailureKind.OUT_OF_MEMORY:
            by_kernel = "; the kernel ended it" if facts.oom_killed and facts.signal else ""
            return f"Out of memory{_had(facts, 'mem_mb', 'MB')}{by_kernel}{said}"
        case FailureKind.TIME_LIMIT:
            return f"It took longer than it was allowed to{_had(facts, 'runtime', 'minutes')}{said}"
        case FailureKind.MISSING_OUTPUT:
            missing = ", ".join(_MISSING_FILE.findall(facts.message))
            return f"The command ended well but did not write {missing or 'all of its outputs'}"
        case FailureKind.SIGNAL:
            return _of_signal(facts, said)
        case FailureKind.EXIT_CODE:
            return _of_exit_code(facts, words)
        case FailureKind.UNKNOWN:
            return (
                f"It failed{said or ': ' + (last_words(None, facts.message)[:LONGEST_WORDS] or 'no reason is known')}"
            )
        case FailureKind.STORAGE_UNREACHABLE | FailureKind.STORAGE_REFUSED if not said:  # Snakemake itself has said it
            return f"{kind.words.capitalize()}: {last_words(None, facts.message)[:LONGEST_WORDS]}"
    return f"{kind.words.capitalize()}{said}"


def _had(facts: Facts, resource: str, unit: str) -> str:
    had = facts.resources.get(resource)
    return f" (it had {had} {unit})" if isinstance(had, int) else ""


def _of_signal(facts: Facts, said: str) -> str:
    assert facts.signal is not None
    text = f"{signal_name(facts.signal)} ended it"
    if facts.signal == _SIGKILL:
        text += {
            False: "; it was not the kernel for want of memory",
            None: "; who sent it is not known",
        }.get(facts.oom_killed, "")
    return text + said


def _of_exit_code(facts: Facts, words: str) -> str:
    said = f": {words}" if words else ""
    found = _NOT_FOUND_WORDS.search(f"{facts.log_tail}\n{facts.stderr_tail}")
    if facts.exit_code == _NOT_FOUND:
        program = f"{found[1]!r} is" if found else "a program that it calls is"
        return f"Exit code 127: {program} not installed where the job ran"
    if facts.exit_code == _NOT_EXECUTABLE:
        return f"Exit code 126: a program that it calls may not be executed{said}"
    return f"Exit code {facts.exit_code}{said}"
