"""Which refusals of sbatch are worth another try. The texts are those of Slurm's src/common/slurm_errno.c and sbatch.

Two kinds: the controller cannot be reached or asks for patience, or the user has as many jobs in the queue as is
allowed (limits MaxSubmitJobs and GrpSubmitJobs of an association or QOS). Everything else is the request's fault and
would be refused again. After some of the first kind nobody knows whether the controller has the job.
"""

import re

_AWAY = re.compile(
    r"Unable to contact slurm controller"
    r"|Slurm backup controller in standby mode"
    r"|Slurm accounting storage is disabled|Slurm database is unavailable"
    r"|temporarily unable to accept job"
    r"|Resource temporarily unavailable"
    r"|Slurm job queue full"
    r"|Connection refused"
    r"|Unable to initialize credential|Munge encode failed",
    re.IGNORECASE,
)
_UNCLEAR = re.compile(
    r"Socket timed out on send/recv operation"
    r"|Zero Bytes were transmitted or received"
    r"|Transport endpoint is not connected"
    r"|Unable to contact slurm controller \((?:send|receive|shutdown) failure\)"
    r"|slurm_persist_conn_open"
    r"|Connection (?:timed out|reset by peer)",
    re.IGNORECASE,
)
_FULL = re.compile(r"\b((?:Assoc|QOS)\w*Submit\w*Limit)\b")
_FAULT = re.compile(r"(?:sbatch: )?error: (.*)")


def worth_waiting(message: str) -> str | None:
    """Return in a few words why sbatch refused a job, if it may accept it later; None if it will not."""
    full = _FULL.search(message)
    if full is not None:
        return full[1]
    away = _UNCLEAR.search(message) or _AWAY.search(message)
    return away[0] if away is not None else None


def may_have_been_accepted(message: str) -> bool:
    """Whether the controller may have the job all the same: what was lost may have been its answer."""
    return _UNCLEAR.search(message) is not None


def last_words(message: str) -> str:
    """Return what sbatch said last in its refusal."""
    found = _FAULT.findall(message)
    return str(found[-1]).rstrip("'.") if found else message.strip()
