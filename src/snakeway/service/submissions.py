"""Making runs of what users submit, several at a time: one look at each workflow and one commit for all of them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import IntegrityError

from snakeway import ids
from snakeway.catalog import Catalog, Target, Workflow
from snakeway.errors import IdempotencyConflict, SnakewayError, StoreBusy
from snakeway.model.attempt import AttemptReason
from snakeway.model.input import references
from snakeway.model.user import User
from snakeway.model.webhook import check_run_urls
from snakeway.rows import AttemptRow, IdempotencyRow, RunRow
from snakeway.service.submission import Submission, check, check_place, new_run
from snakeway.service.used import Used, pin, used_by
from snakeway.settings import Settings
from snakeway.store import Store, insert_all, runs
from snakeway.tree import TakesLonger

T = TypeVar("T")
Key = tuple[str, str]  # who sent it, and the idempotency key
Known = dict[Key, tuple[IdempotencyRow, RunRow]]  # what was made before, by key


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission and who sent it."""

    user: User
    submission: Submission
    idempotency_key: str | None = None
    traceparent: str | None = None

    @property
    def key(self) -> Key | None:
        """What no two submissions have in common, unless one is a repetition of the other."""
        return None if self.idempotency_key is None else (self.user.id, self.idempotency_key)

    def digest(self) -> str:
        """Return what tells this submission from another with the same key."""
        return hashlib.sha256(json.dumps(asdict(self.submission), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Made:
    """The run of a submission; not ``new`` if its idempotency key had been used for it before."""

    run: RunRow
    new: bool


class NotTogether(Exception):
    """A submission that is to be made by itself, because others would have to wait for it."""


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

    def make_one(self, asked: Asked) -> Made:
        """Queue a run, however long that takes.

        Raises:
            WorkflowNotFound, InvalidWorkflow, SourceUnreachable, TargetNotFound, InvalidTarget, InvalidConfig, Invalid:
                the submission cannot be carried out; nothing was stored.
            IdempotencyConflict: the key was used for another submission.

        """
        made = self._prepare(asked, self._known([asked]), self._workflow, self._catalog.target)
        if isinstance(made, Made):
            return made
        try:
            self._insert([made])
        except IntegrityError:
            # Another request with the same key was committed between our look and our insert.
            known = self._known([asked])
            if not known:
                raise
            return _again(asked, known)
        return Made(made.run, new=True)

    def make_all(self, group: Sequence[Asked]) -> list[Made | Exception]:
        """Queue a run for each of a group; returns for each, in order, what was made of it, or why nothing was.

        NotTogether is for those that may take long, because of files that are to be read or copied or of locks that
        are to be waited for, and for the second of two with the same key. Anything that is raised has left nothing of
        the whole group behind. Cost: a look at each file of each workflow and target that is named, one transaction for
        the keys and one for the rows, and for each submission the check of its configuration and its rows.
        """
        try:
            known = self._known(group)
        except StoreBusy as error:
            return [copy(error) for _ in group]
        outcomes = self._prepare_all(group, known)
        new = [outcome for outcome in outcomes if isinstance(outcome, _Prepared)]
        try:
            self._insert(new)
        except StoreBusy as error:
            return [copy(error) if isinstance(outcome, _Prepared) else outcome for outcome in outcomes]
        return [Made(outcome.run, new=True) if isinstance(outcome, _Prepared) else outcome for outcome in outcomes]

    def _prepare_all(self, group: Sequence[Asked], known: Known) -> list[_Prepared | Made | Exception]:
        pinned = _once(partial(self._catalog.pin, at_once=True))
        target = _once(partial(self._catalog.target, at_once=True))
        keys: set[Key] = set()
        outcomes: list[_Prepared | Made | Exception] = []
        for asked in group:
            try:
                if asked.key in keys or asked.submission.elsewhere or references(asked.submission.config):
                    raise TakesLonger
                outcomes.append(self._prepare(asked, known, lambda each: pinned(each.workflow), target))
                if asked.key is not None and asked.key not in known:
                    keys.add(asked.key)
            except SnakewayError as error:
                outcomes.append(error)
            except TakesLonger:
                outcomes.append(NotTogether())
        return outcomes

    def _prepare(
        self, asked: Asked, known: Known, workflow: Callable[[Submission], Workflow], target: Callable[[str], Target]
    ) -> _Prepared | Made:
        submission = asked.submission
        check(submission, asked.idempotency_key)
        check_run_urls(submission.webhooks, self._settings.webhook_url_prefixes)
        if asked.key in known:
            return _again(asked, known)
        found = workflow(submission)
        used = used_by(self._store, asked.user.id, submission.config)
        self._catalog.validate(found, used.config)
        check_place(target(submission.target), submission.overrides)
        run = new_run(asked.user, submission, found, used, asked.traceparent)
        return _Prepared(asked, run, _first_attempt(run, submission), used)

    def _insert(self, prepared: Sequence[_Prepared]) -> None:
        if not prepared:
            return
        # In one order, so that two servers with the same keys wait for each other once and not crosswise.
        keys = [_key_row(each) for each in sorted(prepared, key=lambda each: each.asked.key or ()) if each.asked.key]
        with self._store.write() as tx:
            runs.add_all(tx, [each.run for each in prepared])
            insert_all(tx, [each.attempt for each in prepared])
            for each in prepared:
                pin(tx, each.run, each.used)
            insert_all(tx, keys)
        self._wake()

    def _known(self, group: Sequence[Asked]) -> Known:
        keys = {asked.key for asked in group if asked.key is not None}
        if not keys:
            return {}
        with self._store.read() as tx:
            found = {key: runs.of_key(tx, *key) for key in keys}
        return {key: known for key, known in found.items() if known is not None}

    def _workflow(self, submission: Submission) -> Workflow:
        if submission.bundle is not None:
            return self._catalog.bundle(submission.bundle, submission.workflow)
        if submission.git_url is not None:
            return self._catalog.pin_git(submission.git_url, submission.git_ref, submission.git_path)
        return self._catalog.pin(submission.workflow)


def _once(function: Callable[[str], T]) -> Callable[[str], T]:
    """Return a function that has ``function`` called once for each name, and repeats what came of it."""
    outcomes: dict[str, T | SnakewayError | TakesLonger] = {}

    def once(name: str) -> T:
        if name not in outcomes:
            try:
                outcomes[name] = function(name)
            except (SnakewayError, TakesLonger) as error:
                outcomes[name] = error
        outcome = outcomes[name]
        if isinstance(outcome, (SnakewayError, TakesLonger)):
            raise copy(outcome)  # each of those that it is told has it with a history of its own
        return outcome

    return once


def _again(asked: Asked, known: Known) -> Made:
    assert asked.key is not None
    used, run = known[asked.key]
    if used.request_digest != asked.digest():
        raise IdempotencyConflict(f"the key {used.key!r} was used for another submission; take a new key")
    return Made(run, new=False)


def _key_row(prepared: _Prepared) -> IdempotencyRow:
    run, asked = prepared.run, prepared.asked
    return IdempotencyRow.record(
        owner=run.owner,
        key=asked.idempotency_key,
        request_digest=asked.digest(),
        run_id=run.id,
        created_at=run.created_at,
    )


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
        overrides=submission.overrides.as_json(),
        created_at=run.created_at,
    )
