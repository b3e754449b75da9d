"""Reads: runs, attempts, jobs, logs, artifacts, workflows, targets."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from snakeway.blobs import Blobs, Storages
from snakeway.catalog import Catalog, Target, Workflow
from snakeway.catalog.prices import PriceFile
from snakeway.directory import RunDirectory, run_directory
from snakeway.errors import ArtifactNotFound, AttemptNotFound, Forbidden, JobNotFound, LogNotFound
from snakeway.model.artifact import Kind
from snakeway.model.job import JobState, LogSource
from snakeway.model.scheduled import Efficiency, efficiency, overall
from snakeway.model.user import User
from snakeway.rows import ArtifactRow, AttemptRow, AuditRow, DeliveryRow, JobRow, RunRow, now
from snakeway.service.access import find
from snakeway.service.costs import Costs
from snakeway.service.livelog import LiveLogs
from snakeway.settings import Settings
from snakeway.store import Store, artifacts, attempts, audit, deliveries, jobs, runs, scheduled, supervisors
from snakeway.store.page import Page
from snakeway.store.runs import RunFilter
from snakeway.targets import logs_for


def lost(row: ArtifactRow) -> ArtifactNotFound:
    """The error for an artifact that is on record and not where it was."""
    return ArtifactNotFound(f"run {row.run_id} has lost its output {row.path!r}; a re-run makes it anew")


class Reads:
    """Everything that only looks."""

    def __init__(self, store: Store, catalog: Catalog, settings: Settings, storages: Storages) -> None:
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self.costs = Costs(store, PriceFile(settings.prices_file))
        self._storages = storages
        self._live = LiveLogs()

    def workflows(self) -> list[Workflow]:
        """Return the catalog's workflows by name."""
        return self._catalog.workflows()

    def workflow(self, name: str) -> Workflow:
        """Return a workflow of the catalog; raises WorkflowNotFound."""
        return self._catalog.workflow(name)

    def targets(self) -> list[Target]:
        """Return the targets by name."""
        return self._catalog.targets()

    def run(self, user: User, run_id: str) -> RunRow:
        """Return a run; raises RunNotFound."""
        with self._store.read() as tx:
            return find(tx, user, run_id)

    def runs(self, user: User, where: RunFilter, cursor: str | None, limit: int) -> Page[RunRow]:
        """Return a page of the runs that ``user`` may see, newest first; raises InvalidCursor."""
        owner = where.owner if user.admin else user.id
        with self._store.read() as tx:
            return runs.list_(tx, replace(where, owner=owner), cursor, limit)

    def attempts(self, user: User, run_id: str) -> Sequence[AttemptRow]:
        """Return the run's attempts, oldest first; raises RunNotFound."""
        with self._store.read() as tx:
            find(tx, user, run_id)
            return attempts.of_run(tx, run_id)

    def attempt(self, user: User, run_id: str, number: int | None) -> AttemptRow:
        """Return the attempt of this number, or the newest real one; raises RunNotFound, AttemptNotFound."""
        if number is None:
            with self._store.read() as tx:
                find(tx, user, run_id)
                newest = attempts.newest(tx, run_id)
            if newest is not None:
                return newest
        for attempt in self.attempts(user, run_id):
            if attempt.number == number:
                return attempt
        raise AttemptNotFound(f"run {run_id} has no attempt {number}")

    def jobs(
        self,
        user: User,
        run_id: str,
        attempt: int | None,
        states: Sequence[JobState],
        rule: str | None,
        cursor: str | None,
        limit: int,
    ) -> tuple[Page[JobRow], dict[str, int]]:
        """Return a page of the jobs of one attempt, or of all, and the number of each attempt by its id."""
        found = [self.attempt(user, run_id, attempt)] if attempt is not None else self.attempts(user, run_id)
        numbers = {row.id: row.number for row in found}
        with self._store.read() as tx:
            return jobs.list_(tx, list(numbers), states, rule, cursor, limit), numbers

    def job(self, user: User, run_id: str, attempt: int | None, number: int) -> tuple[JobRow, AttemptRow]:
        """Return one job; raises RunNotFound, AttemptNotFound, JobNotFound."""
        row = self.attempt(user, run_id, attempt)
        with self._store.read() as tx:
            job = jobs.get(tx, row.id, number)
        if job is None:
            raise JobNotFound(f"attempt {row.number} of run {run_id} has no job {number}")
        return job, row

    def rules(self, user: User, run_id: str, attempt: int | None) -> dict[str, dict[str, int]]:
        """Return rule -> state -> number of jobs in one attempt."""
        row = self.attempt(user, run_id, attempt)
        with self._store.read() as tx:
            return jobs.count_by_rule(tx, row.id)

    def efficiency(
        self, user: User, run_id: str, attempt: int | None
    ) -> tuple[list[Efficiency], float | None, float | None]:
        """Return how well an attempt's jobs used what they were given: by rule, and processors and memory in all."""
        row = self.attempt(user, run_id, attempt)
        with self._store.read() as tx:
            by_rule = scheduled.of_rules(tx, row.id)
        rules = [efficiency(rule, jobs) for rule, jobs in sorted(by_rule.items())]
        return (rules, *overall(job for jobs in by_rule.values() for job in jobs))

    def run_log(self, user: User, run_id: str, attempt: int | None) -> Path:
        """Return the file with snakemake's output; raises RunNotFound, AttemptNotFound, LogNotFound."""
        row = self.attempt(user, run_id, attempt)
        attempt_directory = self.directory(run_id).attempt(row.number)
        path = attempt_directory.log
        if not (attempt_directory.is_real and path.is_file() and not path.is_symlink()):
            raise LogNotFound(f"attempt {row.number} of run {run_id} has written no log yet")
        return path

    def job_log(
        self, user: User, run_id: str, attempt: int | None, number: int, source: LogSource | None = None
    ) -> tuple[Path, Path]:
        """Return the first of the job's log files that exists, or else its scheduler's, and the folder it must lie in.

        ``source`` wants one of the two only. Raises JobNotFound, LogNotFound, and Unavailable where the scheduler's is
        not in a file and cannot be had now.
        """
        job, row = self.job(user, run_id, attempt, number)
        root = self.directory(run_id).path
        for name in job.logs if source is not LogSource.SCHEDULER else ():
            path = self._inside(run_id, name)
            if path is not None:
                return path, root
        if source is not LogSource.RULE and job.scheduler_log:
            path = self._inside(run_id, job.scheduler_log)
            if path is not None:
                return path, root
            logs = logs_for(row.executor or "")
            live = self._live.file(logs, run_id, job.external_id) if logs is not None and job.external_id else None
            if live is not None:
                return live, self._live.root
        if source is LogSource.SCHEDULER:
            raise LogNotFound(f"no scheduler keeps a log of job {number} of attempt {row.number}, or not yet")
        why = "its rule declares no 'log:'" if not job.logs else f"{', '.join(job.logs)} is not there"
        raise LogNotFound(f"job {number} of attempt {row.number} has no log: {why}; its output may be in the run's log")

    def shipped_log(self, user: User, run_id: str, attempt: int | None, number: int) -> bytes | None:
        """Return the end of the job's log as its events carry it, which is all there is of a run by hand; else None."""
        if not self.run(user, run_id).outside:
            return None
        job, _ = self.job(user, run_id, attempt, number)
        return f"{job.log_tail}\n".encode(errors="replace") if job.log_tail else None

    def artifacts(
        self, user: User, run_id: str, kind: Kind | None, cursor: str | None, limit: int
    ) -> Page[ArtifactRow]:
        """Return a page of the run's artifacts by path; raises RunNotFound, InvalidCursor."""
        with self._store.read() as tx:
            find(tx, user, run_id)
            return artifacts.list_(tx, run_id, kind, cursor, limit)

    def artifacts_after(self, user: User, run_id: str, kind: Kind | None, path: str | None) -> Sequence[ArtifactRow]:
        """Return some of the run's artifacts, those whose paths come next after ``path``; raises RunNotFound."""
        with self._store.read() as tx:
            find(tx, user, run_id)
            return artifacts.after_path(tx, run_id, kind, path)

    def artifact(self, user: User, run_id: str, path: str) -> ArtifactRow:
        """Return an artifact; raises RunNotFound, ArtifactNotFound."""
        with self._store.read() as tx:
            find(tx, user, run_id)
            row = artifacts.get(tx, run_id, path)
        if row is None:
            raise ArtifactNotFound(f"run {run_id} has no output {path!r}; 'snakeway artifacts {run_id}' lists them")
        return row

    def artifact_file(self, row: ArtifactRow) -> Path:
        """Return the file of an artifact in its run's directory; raises ArtifactNotFound."""
        file = self._inside(row.run_id, row.path)
        if file is None:
            raise lost(row)
        return file

    def artifact_storage(self, row: ArtifactRow) -> Blobs | None:
        """Return the storage that an artifact is in, its path being the key; None: the run's directory."""
        return None if row.storage_url is None else self._storages.at(row.storage_url)

    @property
    def presigned_expiry_s(self) -> int:
        """How long the address of a download from a storage works."""
        return self._settings.presigned_expiry_s

    def deliveries(self, user: User, run_id: str, cursor: str | None, limit: int) -> Page[DeliveryRow]:
        """Return a page of what webhooks were told about the run, oldest first; raises RunNotFound, InvalidCursor."""
        with self._store.read() as tx:
            find(tx, user, run_id)
            return deliveries.list_(tx, run_id, cursor, limit)

    def audit(self, user: User, run_id: str | None, cursor: str | None, limit: int) -> Page[AuditRow]:
        """Return a page of what was removed, newest first; raises Forbidden, InvalidCursor."""
        if not user.admin:
            raise Forbidden("only administrators can read the audit")
        with self._store.read() as tx:
            return audit.list_(tx, run_id, cursor, limit)

    def directory(self, run_id: str) -> RunDirectory:
        """Return where the run lives on disk."""
        return run_directory(self._settings.data_dir, run_id)

    def check_database(self) -> None:
        """Raise StoreBusy or StoreBroken unless changes can be stored; see :meth:`Store.probe`."""
        self._store.probe()

    def supervisors_alive(self) -> int:
        """Return how many supervisors have been seen within their lease."""
        with self._store.read() as tx:
            return len(supervisors.alive(tx, now() - timedelta(seconds=self._settings.lease_s)))

    def _inside(self, run_id: str, name: str) -> Path | None:
        root = self.directory(run_id).path.resolve()
        try:
            path = (root / name).resolve()
        except (OSError, ValueError):  # a loop of links, a NUL byte
            return None
        return path if path.is_relative_to(root) and path.is_file() else None
