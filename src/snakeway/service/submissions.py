"""Making runs of what users submit, several at a time: one look at each workflow and one commit for all of them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial

from sqlalchemy.exc import IntegrityError

from snakeway import ids
from snakeway.catalog import Catalog, Target, Workflow
from snakeway.errors import IdempotencyConflict, SnakewayError, StoreBusy
from snakeway.model.attempt import AttemptReason
from snakeway.model.user import User
from snakeway.model.webhook import check_run_urls
from snakeway.rows import AttemptRow, RunRow
from snakeway.service.submission import Submission, check, check_place, new_run
from snakeway.service.used import Used, pin, used_by
from snakeway.settings import Settings
from snakeway.store import Store, insert_all, runs
from snakeway.tree import TakesLonger


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission and who sent it."""

    user: User
    submission: Submission
    idempotency_key: str | None = None
    traceparent: str | None = None

    def digest(self) -> str:
        """Return what tells this submission from another with the same key."""
        return hashlib.sha256(json.dumps(asdict(self.submission), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Made:
    """The run of a submission; not ``new`` if its idempotency key had been used for it before."""

    run: RunRow
    new: bool


@dataclass(frozen=True, slots=True)
class _Prepared:
    asked: Asked
    run: RunRow
    attempt: AttemptRow
    used: Used


class Submissions:
    """Safe for several threads. ``wake`` tells an embedded supervisor that there is something to do."""

    def __init__(self, store: Store, catalog: Catalog, settings: Settings, wake: Callable[[], None]) -> None:
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self._wake = wake

    def make(self, group: Sequence[Asked], *, at_once: bool = False) -> list[Made | Exception]:
        """Queue a run for each of a group; returns for each, in order, what was made of it, or why nothing was.

        With ``at_once`` those that may take seconds are left undone, with TakesLonger. Anything that is raised, be it
        because two of a group have the same idempotency key, has left nothing of the whole group behind: whoever gets
        it from a group of several asks for each by itself. Cost: a look at each file of each workflow that is named,
        one transaction, and for each submission the check of its configuration and its rows.
        """
        workflow = cache(partial(self._workflow, at_once=at_once))
        target = cache(self._catalog.target)
        outcomes = [self._prepare(asked, workflow, target) for asked in group]
        prepared = [outcome for outcome in outcomes if isinstance(outcome, _Prepared)]
        try:
            self._insert(prepared)
        except StoreBusy as error:
            return [error if isinstance(outcome, _Prepared) else outcome for outcome in outcomes]
        except IntegrityError:
            # Another request with the same key was committed between our look and our insert.
            known = self._known(group[0]) if len(group) == 1 else None
            if known is None:
                raise
            return [known]
        if prepared:
            self._wake()
        return [Made(outcome.run, new=True) if isinstance(outcome, _Prepared) else outcome for outcome in outcomes]

    def make_one(self, asked: Asked) -> Made:
        """Queue a run, however long that takes.

        Raises:
            WorkflowNotFound, InvalidWorkflow, SourceUnreachable, TargetNotFound, InvalidTarget, InvalidConfig, Invalid:
                the submission cannot be carried out; nothing was stored.
            IdempotencyConflict: the key was used for another submission.

        """
        [outcome] = self.make([asked])
        if isinstance(outcome, Made):
            return outcome
        raise outcome

    def _prepare(
        self, asked: Asked, workflow: Callable[..., Workflow], target: Callable[[str], Target]
    ) -> _Prepared | Made | SnakewayError | TakesLonger:
        submission = asked.submission
        try:
            check(submission, asked.idempotency_key)
            check_run_urls(submission.webhooks, self._settings.webhook_url_prefixes)
            known = self._known(asked)
            if known is not None:
                return known
            source = submission.bundle, submission.git_url, submission.git_ref, submission.git_path
            found = workflow(submission.workflow, *source)
            used = used_by(self._store, asked.user.id, submission.config)
            self._catalog.validate(found, used.config)
            check_place(target(submission.target), submission.overrides)
        except (SnakewayError, TakesLonger) as error:
            return error
        run = new_run(asked.user, submission, found, used, asked.traceparent)
        return _Prepared(asked, run, _first_attempt(run, submission), used)

    def _insert(self, prepared: Sequence[_Prepared]) -> None:
        if not prepared:
            return
        with self._store.write() as tx:
            runs.add_all(tx, [each.run for each in prepared])
            insert_all(tx, [each.attempt for each in prepared])
            for each in prepared:
                pin(tx, each.run, each.used)
                if each.asked.idempotency_key is not None:
                    runs.add_key(tx, each.run.owner, each.asked.idempotency_key, each.asked.digest(), each.run.id)

    def _known(self, asked: Asked) -> Made | None:
        if asked.idempotency_key is None:
            return None
        with self._store.read() as tx:
            used = runs.find_key(tx, asked.user.id, asked.idempotency_key)
            if used is None:
                return None
            if used.request_digest != asked.digest():
                raise IdempotencyConflict(
                    f"the key {asked.idempotency_key!r} was used for another submission; take a new key"
                )
            run = runs.get(tx, used.run_id)
        return None if run is None else Made(run, new=False)

    def _workflow(
        self, name: str, bundle: str | None, git_url: str | None, ref: str, path: str, *, at_once: bool
    ) -> Workflow:
        if bundle is None and git_url is None:
            return self._catalog.pin(name, at_once=at_once)
        if at_once:
            raise TakesLonger
        if bundle is not None:
            return self._catalog.bundle(bundle, name)
        assert git_url is not None
        return self._catalog.pin_git(git_url, ref, path)


def _first_attempt(run: RunRow, submission: Submission) -> AttemptRow:
    return AttemptRow.record(
        id=ids.new_id(),
        run_id=run.id,
        number=1,
        owner=run.owner,
        reason=AttemptReason.SUBMIT,
        dry_run=run.dry_run,
        target=run.target,
        digest=run.digest,
        config=run.config,
        overrides=asdict(submission.overrides),
        created_at=run.created_at,
    )
