"""Everything a user can get wrong or run into, one class each.

The docstring of a class is its message template's meaning in the reference; ``code`` is stable and is what programs
compare; ``title`` is the same for every occurrence; the text of an instance says what, where, and what to do next.

    SnakewayError
    ├── Invalid               the request cannot be carried out as it is
    │   ├── InvalidConfig, InvalidWorkflow, InvalidTarget, InvalidCursor, BodyTooLarge, InputTooLarge, InputDamaged
    ├── NotFound
    │   ├── RunNotFound, AttemptNotFound, JobNotFound, ArtifactNotFound, LogNotFound, WorkflowNotFound, TargetNotFound,
    │   ├── BlobNotFound, InputNotFound
    ├── Conflict              the request is fine, the state of the thing is not
    │   ├── RunActive, RunEnded, IdempotencyConflict, OutsideRun, NotOutside, OffsetConflict, BlobExists,
    │   ├── InputBusy, InputInUse, QuotaExceeded
    ├── Unauthorized, Forbidden
    ├── RangeNotSatisfiable
    └── Unavailable           try again later
        ├── StoreBusy, StoreOutdated, StoreBroken, SourceUnreachable, ServerUnreachable, BlobsUnavailable,
            BlobsRefused
"""

from typing import ClassVar


class SnakewayError(Exception):
    """Something that Snakeway can explain. Unexpected exceptions are never of this type."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class Invalid(SnakewayError):
    """The request is malformed: a missing or mistyped member, a value out of its bounds, an unknown option."""

    code = "invalid_request"
    title = "The request is not valid"


class InvalidConfig(Invalid):
    """The configuration does not fit the workflow's schema; ``field`` names the key at fault."""

    code = "invalid_config"
    title = "The configuration does not fit the workflow"


class InvalidWorkflow(Invalid):
    """The workflow's own files cannot be read: broken YAML, an invalid schema, a link that leads out of it."""

    code = "invalid_workflow"
    title = "The workflow is broken"


class InvalidTarget(Invalid):
    """The target's profile cannot be read or is not a Snakemake profile."""

    code = "invalid_target"
    title = "The target is broken"


class InvalidCursor(Invalid):
    """The page cursor was not made by this server; start again without one."""

    code = "invalid_cursor"
    title = "The page cursor is not valid"


class BodyTooLarge(Invalid):
    """The request's body is larger than the server accepts (settings ``max_body_bytes``, ``max_bundle_bytes``)."""

    code = "body_too_large"
    title = "The request body is too large"


class InputTooLarge(Invalid):
    """The input is larger than the server accepts (setting ``max_input_bytes``)."""

    code = "input_too_large"
    title = "The input is too large"


class InputDamaged(Invalid):
    """What arrived does not have the announced SHA-256: nothing of it was kept; announce it again and send it anew."""

    code = "input_damaged"
    title = "The bytes are not those that were announced"


class NotFound(SnakewayError):
    """There is nothing at this address."""

    code = "not_found"
    title = "Not found"


class RunNotFound(NotFound):
    """No run has this id, or it is not yours to see."""

    code = "run_not_found"
    title = "No such run"


class AttemptNotFound(NotFound):
    """The run has no attempt of this number."""

    code = "attempt_not_found"
    title = "No such attempt"


class JobNotFound(NotFound):
    """The attempt has no job of this number."""

    code = "job_not_found"
    title = "No such job"


class GateNotFound(NotFound):
    """The run has no such gate, or has not reached it."""

    code = "gate_not_found"
    title = "No such gate"


class ArtifactNotFound(NotFound):
    """The run has no such output file, or the file is gone from its directory."""

    code = "artifact_not_found"
    title = "No such artifact"


class LogNotFound(NotFound):
    """There is no log: the rule has no ``log:`` directive, or nothing was written yet."""

    code = "log_not_found"
    title = "No such log"


class WorkflowNotFound(NotFound):
    """The catalog has no workflow of this name, or the repository has none at this path and ref."""

    code = "workflow_not_found"
    title = "No such workflow"


class TargetNotFound(NotFound):
    """There is no profile folder of this name."""

    code = "target_not_found"
    title = "No such target"


class BlobNotFound(NotFound):
    """The object storage has nothing under this key."""

    code = "blob_not_found"
    title = "No such object"


class InputNotFound(NotFound):
    """No input has this id, or it is not yours to see, or its upload has expired."""

    code = "input_not_found"
    title = "No such input"


class Conflict(SnakewayError):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    title = "Not possible in this state"


class RunActive(Conflict):
    """The run is queued or running; cancel it or wait for its end first."""

    code = "run_active"
    title = "The run has not ended"


class RunEnded(Conflict):
    """The run has ended, so there is nothing to cancel."""

    code = "run_ended"
    title = "The run has ended"


class GateExpired(Conflict):
    """Nobody decided about the gate before its deadline; a re-run asks again."""

    code = "gate_expired"
    title = "The gate's deadline has passed"


class GateDecided(Conflict):
    """The gate was approved, and jobs may have used the answer; it cannot be rejected any more."""

    code = "gate_decided"
    title = "The gate was approved"


class EvidenceChanged(Conflict):
    """What the gate shows was made anew since you looked at it; look again, then decide."""

    code = "evidence_changed"
    title = "The evidence has changed"


class NoSuggestion(Conflict):
    """Nothing is known that would cure what failed; correct it and re-run without suggestions."""

    code = "no_suggestion"
    title = "There is no suggestion to apply"


class IdempotencyConflict(Conflict):
    """The Idempotency-Key was used before with a different request."""

    code = "idempotency_conflict"
    title = "The idempotency key was used for another request"


class OutsideRun(Conflict):
    """The run was started by hand: the server records it, and has no hold on its processes and files."""

    code = "outside_run"
    title = "The run was started by hand"


class NotOutside(Conflict):
    """The events are said to be of a run by hand, but the id is that of a run that was submitted to this server."""

    code = "not_outside"
    title = "The run was not started by hand"


class OffsetConflict(Conflict):
    """The bytes do not begin where those that are here already end; ``offset`` says where that is."""

    code = "offset_conflict"
    title = "The bytes go on at another offset"

    def __init__(self, detail: str, *, offset: int = 0, field: str | None = "offset") -> None:
        super().__init__(detail, field=field)
        self.offset = offset


class BlobExists(Conflict):
    """The object storage has something under this key already, and it was not to be replaced."""

    code = "blob_exists"
    title = "There is such an object already"


class InputBusy(Conflict):
    """Another request is at work on this content: stores it, or removes it; ask again in a moment."""

    code = "input_busy"
    title = "The input is being worked on"


class InputInUse(Conflict):
    """Runs use the input, so it is kept: delete these runs first."""

    code = "input_in_use"
    title = "Runs use the input"


class QuotaExceeded(Conflict):
    """It would be more than one person may keep (setting ``max_inputs_bytes_per_owner``); delete something first."""

    code = "quota_exceeded"
    title = "There is no room left for you"


class Unauthorized(SnakewayError):
    """No token was sent, or it is not valid."""

    code = "unauthorized"
    title = "Authentication needed"


class Forbidden(SnakewayError):
    """You are known, but may not do this."""

    code = "forbidden"
    title = "Not allowed"


class RangeNotSatisfiable(SnakewayError):
    """The asked byte range lies outside the file."""

    code = "range_not_satisfiable"
    title = "The range lies outside the file"


class Unavailable(SnakewayError):
    """Something the server needs does not answer; the same request may succeed later."""

    code = "unavailable"
    title = "Temporarily unavailable"


class StoreBusy(Unavailable):
    """The database is locked, unreachable or out of room."""

    code = "store_busy"
    title = "The database does not answer"


class StoreOutdated(Unavailable):
    """The database's schema is not the one this version needs; run ``snakeway migrate``."""

    code = "store_outdated"
    title = "The database needs migration"


class StoreBroken(Unavailable):
    """The database's file is damaged, is none of a database, or cannot be opened or written."""

    code = "store_broken"
    title = "The database cannot be used"


class SourceUnreachable(Unavailable):
    """The git repository cannot be fetched, or has no such ref."""

    code = "source_unreachable"
    title = "The workflow's repository cannot be read"


class ServerUnreachable(Unavailable):
    """The client cannot reach the server at SNAKEWAY_URL."""

    code = "server_unreachable"
    title = "The server cannot be reached"


class BlobsUnavailable(Unavailable):
    """The object storage cannot be reached, does not answer in time, or says that it cannot serve now."""

    code = "blobs_unavailable"
    title = "The object storage does not answer"


class BlobsRefused(Unavailable):
    """The object storage answers, and will not serve this server: a wrong key, no right, no such bucket or folder."""

    code = "blobs_refused"
    title = "The object storage refuses"


def every_error() -> list[type[SnakewayError]]:
    """Return every class of the tree, parents first: the reference and its test are made from this."""
    found: list[type[SnakewayError]] = [SnakewayError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return found
