"""Commands: cancel, re-run, delete, and the way to the others."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from snakeway import ids, removal
from snakeway.blobs import Storages
from snakeway.catalog import Catalog, Workflow
from snakeway.errors import Invalid, RunActive, RunEnded
from snakeway.model import run as run_rules
from snakeway.model.attempt import ENDED, AttemptReason, AttemptState, Overrides
from snakeway.model.audit import AuditAction
from snakeway.model.retention import Rule
from snakeway.model.run import RunState
from snakeway.model.user import Action, User
from snakeway.removal import Actor, Pruned
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.service.access import check_ended, check_ours, find
from snakeway.service.gates import Gates
from snakeway.service.inputs import Inputs
from snakeway.service.outside import Outside
from snakeway.service.submission import Rerun, check_place, with_suggestions
from snakeway.service.submissions import Submissions
from snakeway.service.used import note, pin, used_by
from snakeway.settings import Settings
from snakeway.store import Store, Transaction, attempts, gates, runs

log = logging.getLogger(__name__)

_PLAN_POLL_S = 0.05


class Commands:
    """Everything that changes something. ``wake`` tells an embedded supervisor that there is something to do."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: Settings,
        storages: Storages,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self._wake = wake
        self.gates = Gates(store, wake)
        self.outside = Outside(store, settings, wake)
        self.inputs = Inputs(store, settings, storages)
        self.submissions = Submissions(store, catalog, settings, wake)

    def cancel(self, user: User, run_id: str) -> RunRow:
        """Ask for the run's end. A queued run is cancelled at once; a running one when its processes are gone.

        Raises RunNotFound, Forbidden, RunEnded, OutsideRun.
        """
        with self._store.write() as tx:
            run = find(tx, user, run_id, Action.CONTROL, lock=True)
            check_ours(run)
            waiting = [attempt for attempt in attempts.of_run(tx, run.id) if attempt.state not in ENDED]
            if run.state in run_rules.ENDED and not waiting:
                raise RunEnded(f"run {run_id} has ended ({run.state}); there is nothing to cancel")
            if not waiting and run.state is RunState.PAUSED:
                gates.give_up(tx, run.id)
            else:
                runs.request_stop(tx, run, now())
            tx.flush()
            for attempt in waiting:
                if attempt.state is AttemptState.QUEUED:
                    values = {"ended_at": now(), "error": "Cancelled on request."}
                    attempts.move(tx, attempt.id, AttemptState.QUEUED, AttemptState.CANCELLED, **values)
                    tx.refresh(attempt)
                    if run.dry_run or not attempt.dry_run:
                        run.error = "Cancelled on request."
            if all(attempt.dry_run and attempt.state in ENDED for attempt in waiting) and not run.dry_run:
                run.stop_requested_at = None  # that was about a question that nobody had begun to answer
            run = runs.settle(tx, run.id)
        self._wake()
        return run

    def rerun(self, user: User, run_id: str, rerun: Rerun) -> tuple[RunRow, AttemptRow]:
        """Queue the next attempt of an ended run, and wait a while for its plan; returns the run and the attempt.

        The plan comes from a dry run that the supervisor makes in the run's directory before the attempt. The
        attempt's ``plan`` is None when no supervisor made it in time (setting ``plan_wait_s``).

        Raises RunNotFound, Forbidden, RunActive, OutsideRun, NoSuggestion, Invalid and what a submission raises
        about workflow and target.
        """
        rerun.overrides.check()
        with self._store.read() as tx:
            run = find(tx, user, run_id, Action.CONTROL)
        check_ours(run)
        check_ended(run)
        version = self._again(run, rerun)
        used = used_by(self._store, run.owner, rerun.config or {})
        if rerun.config is not None:
            self._catalog.validate(version, used.config)
        check_place(self._catalog.target(rerun.target or run.target), rerun.overrides)
        with self._store.write() as tx:
            run = find(tx, user, run_id, Action.CONTROL, lock=True)
            attempt = self._next_attempt(tx, run, rerun, version)
            pin(tx, run, used)
            note(run, used)
        self._wake()
        return run, self._wait_for_plan(attempt)

    def delete(self, user: User, run_id: str) -> None:
        """Remove an ended run: its rows, then its directory, which for a run by hand holds the record only.

        Raises RunNotFound, Forbidden, RunActive.
        """
        with self._store.read() as tx:
            find(tx, user, run_id, Action.CONTROL)  # before its files are looked at: the id is one of ours
        size_bytes = removal.size_bytes(self._settings.data_dir, run_id)
        with self._store.write() as tx:
            run = find(tx, user, run_id, Action.CONTROL, lock=True)
            removal.take_out(tx, run, Actor(user.id, AuditAction.DELETE), size_bytes)
        removal.discard(self._settings.data_dir, run_id)

    def prune(self, user: User, rule: Rule, *, dry_run: bool, cursor: str | None, limit: int) -> Pruned:
        """Remove ended runs that ``rule`` names, as far as ``user`` may; see :func:`snakeway.removal.prune`."""
        return removal.prune(
            self._store,
            self._settings.data_dir,
            rule,
            now(),
            keep_label=self._settings.keep_label,
            actor=Actor(user.id, AuditAction.PRUNE, rule),
            owner=None if user.admin else user.id,
            cursor=cursor,
            limit=limit,
            dry_run=dry_run,
        )

    def clean_up(self) -> None:
        """Remove what a crash left of deleted runs, whole or half removed."""
        removal.clean_up(self._store, self._settings.data_dir)

    @property
    def max_bundle_bytes(self) -> int:
        """The setting."""
        return self._settings.max_bundle_bytes

    def new_archive(self) -> BinaryIO:
        """Return a file without a name for :meth:`add_bundle`. Raises Unavailable."""
        return self._catalog.new_archive()

    def add_bundle(self, user: User, archive: BinaryIO, name: str) -> Workflow:
        """Keep a workflow that a user has packed, see :meth:`Catalog.pin_bundle`; a submission names it by its digest.

        Who knows the digest of a bundle may submit it, as may whoever has its files.
        """
        workflow = self._catalog.pin_bundle(archive, name)
        log.info("user %s has sent workflow %r, %s", user.id, name, workflow.digest)
        return workflow

    def _again(self, run: RunRow, rerun: Rerun) -> Workflow:
        source = run.source
        if not rerun.update_workflow:
            return self._catalog.pinned(run.digest, run.workflow, source)
        if source.get("kind") == "bundle":
            raise Invalid(
                "the workflow was sent for this run, so there is no newer version of it here; submit it anew",
                field="update_workflow",
            )
        if source.get("kind") == "git":
            return self._catalog.pin_git(source["url"], source["ref"], source.get("path", ""))
        return self._catalog.pin(run.workflow)

    def _next_attempt(self, tx: Transaction, run: RunRow, rerun: Rerun, version: Workflow) -> AttemptRow:
        check_ended(run)
        earlier = attempts.of_run(tx, run.id)
        if any(attempt.state not in ENDED for attempt in earlier):
            raise RunActive(f"run {run.id} has a dry run under way; try again when it has ended")
        overrides = with_suggestions(run, earlier, rerun) if rerun.apply_suggestions else rerun.overrides
        if overrides.image is None and rerun.target is None:
            overrides = replace(overrides, image=Overrides.from_json(earlier[-1].overrides).image)
        attempt = AttemptRow(
            id=ids.new_id(),
            run_id=run.id,
            number=earlier[-1].number + 1,
            owner=run.owner,
            reason=AttemptReason.RERUN,
            dry_run=rerun.dry_run,
            wants_plan=True,
            target=rerun.target or run.target,
            digest=version.digest,
            config=run.config if rerun.config is None else rerun.config,
            overrides=overrides.as_json(),
            created_at=now(),
        )
        attempts.add(tx, attempt)
        run.stop_requested_at = None
        if run.dry_run or not rerun.dry_run:  # otherwise it is a question about the run, which stays what it is
            run.target, run.config, run.dry_run, run.error = attempt.target, attempt.config, rerun.dry_run, None
            run.digest, run.source = version.digest, version.source
        tx.add(run)
        tx.flush()
        runs.settle(tx, run.id)
        return attempt

    def _wait_for_plan(self, attempt: AttemptRow) -> AttemptRow:
        deadline = time.monotonic() + self._settings.plan_wait_s
        while True:
            with self._store.read() as tx:
                found = attempts.get(tx, attempt.id)
            if found is None or found.plan is not None or found.state in ENDED or time.monotonic() > deadline:
                return found or attempt
            time.sleep(_PLAN_POLL_S)
