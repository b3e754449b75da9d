"""What users ask for: a new run, or another attempt of one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from snakeway import ids
from snakeway.catalog import Target, Workflow
from snakeway.errors import Invalid, NoSuggestion
from snakeway.model import failure as failures
from snakeway.model.attempt import Overrides
from snakeway.model.image import OPTION
from snakeway.model.run import RunState
from snakeway.model.user import User
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.service.used import Used

_MAX_LABELS = 32
_MAX_NOTE = 10_000
_MAX_KEY = 255
_LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a run is to be. ``workflow`` names one of the catalog, unless ``git_url`` or ``bundle`` is given."""

    workflow: str = ""
    git_url: str | None = None
    git_ref: str = "HEAD"
    git_path: str = ""
    bundle: str | None = None  # digest; then ``workflow`` is the name that it gets
    target: str = "local"
    config: dict[str, Any] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=Overrides)
    labels: dict[str, str] = field(default_factory=dict)
    note: str = ""
    dry_run: bool = False
    webhooks: list[str] = field(default_factory=list)

    @property
    def elsewhere(self) -> bool:
        """Whether the workflow is not the catalog's: it has to be fetched, or a stored version checked."""
        return self.git_url is not None or self.bundle is not None


@dataclass(frozen=True, slots=True)
class Rerun:
    """What the next attempt of a run is to do differently; None keeps what the run has."""

    overrides: Overrides = field(default_factory=Overrides)
    config: dict[str, Any] | None = None
    target: str | None = None
    apply_suggestions: bool = False  # give jobs what they lacked; what is asked for beside that wins
    update_workflow: bool = False  # take the workflow's version of now, not the one the run was made with
    dry_run: bool = False


def check(submission: Submission, idempotency_key: str | None) -> None:
    """Raise Invalid, with the field at fault, unless the submission is what it claims to be."""
    submission.overrides.check()
    if bool(submission.workflow) == (submission.git_url is not None):
        raise Invalid("name either a workflow of the catalog or a git repository", field="workflow")
    if len(submission.labels) > _MAX_LABELS:
        raise Invalid(f"a run has at most {_MAX_LABELS} labels", field="labels")
    for key, value in submission.labels.items():
        if not _LABEL_KEY.fullmatch(key) or len(value) > _MAX_KEY:
            raise Invalid(
                f"label {key!r} must be letters, digits, '.', '_', '/' and '-', with a value of at most 255 characters",
                field="labels",
            )
    if len(submission.note) > _MAX_NOTE:
        raise Invalid(f"a note has at most {_MAX_NOTE} characters", field="note")
    if idempotency_key is not None and not 0 < len(idempotency_key) <= _MAX_KEY:
        raise Invalid("an idempotency key has between 1 and 255 characters", field="Idempotency-Key")


def check_place(target: Target, overrides: Overrides) -> None:
    """Raise Invalid unless the target can do what the overrides ask of it."""
    if overrides.image is not None and not target.profile.get(OPTION):
        raise Invalid(f"target {target.name!r} names no image for its jobs, so there is none to replace", field="image")


def new_run(user: User, submission: Submission, workflow: Workflow, used: Used, traceparent: str | None) -> RunRow:
    """Return the record of a run that a user submits."""
    return RunRow.record(
        id=ids.new_id(),
        owner=user.id,
        workflow=workflow.name,
        digest=workflow.digest,
        source=workflow.source,
        target=submission.target,
        state=RunState.QUEUED,
        config=submission.config,
        labels=submission.labels,
        note=submission.note,
        dry_run=submission.dry_run,
        webhooks=submission.webhooks,
        inputs=used.records(),
        traceparent=traceparent,
        created_at=now(),
    )


def with_suggestions(run: RunRow, earlier: Sequence[AttemptRow], rerun: Rerun) -> Overrides:
    """Return the overrides of an attempt that is to cure what the newest one failed of."""
    newest = next((attempt for attempt in reversed(earlier) if not attempt.dry_run), earlier[-1])
    if newest.suggestion is None:
        raise NoSuggestion(
            f"nothing is known that would cure attempt {newest.number} of run {run.id}: "
            f"{newest.error or 'it did not fail'}"
        )
    overrides = failures.apply(newest.suggestion, Overrides.from_json(newest.overrides), rerun.overrides)
    overrides.check()  # the names of rules come from events, which jobs can write
    return overrides
