"""The client: one method for each thing that the server can do."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, TypeVar, Unpack, cast
from urllib.parse import quote

from snakeway.client import files, nouns
from snakeway.client.events import Follower, Retrying, StreamEvent
from snakeway.client.inputs import Inputs
from snakeway.client.nouns import Page, Run, Workflow
from snakeway.client.outside import OutsideRuns
from snakeway.client.transport import Params, Patience, Transport
from snakeway.errors import Invalid

T = TypeVar("T")

_UNAVAILABLE = 503
_SLOW_S = 180  # a submission may have to clone a repository, a re-run waits for its plan
_PAGE = 200


class RunFilter(TypedDict, total=False):
    """Which runs to list; several states mean any of them, several labels all of them. Times are RFC 3339."""

    states: Sequence[str]
    workflow: str | None
    target: str | None
    labels: Mapping[str, str]
    owner: str | None
    created_after: str | None
    created_before: str | None


class Client:
    """A Snakeway server. Safe to share between threads; close it, or use it in a ``with``."""

    def __init__(
        self, url: str, token: str | None = None, timeout_s: float = 30, *, patience: Patience | None = None
    ) -> None:
        """``patience`` says how long a stream or download whose connection broke is taken up again."""
        self._transport = Transport(url, token, timeout_s, patience or Patience())

    @property
    def outside(self) -> OutsideRuns:
        """What can be told about runs that were started by hand."""
        return OutsideRuns(self._transport)

    @property
    def inputs(self) -> Inputs:
        """What can be done with files that are uploaded."""
        return Inputs(self._transport)

    @property
    def url(self) -> str:
        """The server's address, without a password."""
        return self._transport.url

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def submit(
        self, submission: nouns.Submission, *, idempotency_key: str | None = None, traceparent: str | None = None
    ) -> Run:
        """Submit a run.

        Every submission carries a key, one made here if need be: so it is sent again when the connection breaks, and
        makes one run all the same.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        if traceparent:
            headers["traceparent"] = traceparent
        answer = self._transport.ask(
            "POST", "/runs", body=submission, headers=headers, timeout_s=_SLOW_S, repeatable=True
        )
        return cast("Run", answer)

    def add_bundle(self, archive: BinaryIO, name: str) -> Workflow:
        """Send a packed workflow, see :func:`pack`; its digest is for :meth:`submit`."""
        headers = {"Content-Type": "application/gzip"}
        answer = self._transport.ask(
            "POST", "/bundles", params={"name": name}, content=archive, headers=headers, timeout_s=_SLOW_S
        )
        return cast("Workflow", answer)

    def run(self, run_id: str) -> Run:
        """Return a run."""
        return cast("Run", self._get(_run(run_id)))

    def runs_page(
        self, *, cursor: str | None = None, limit: int | None = None, **where: Unpack[RunFilter]
    ) -> Page[Run]:
        """Return one page of runs, newest first."""
        params: dict[str, Any] = {name: value for name, value in where.items() if name not in {"states", "labels"}}
        params["state"] = list(where.get("states") or ())
        params["label"] = [f"{key}={value}" for key, value in (where.get("labels") or {}).items()]
        return cast("Page[Run]", self._get("/runs", {**params, "cursor": cursor, "limit": limit}))

    def runs(self, **where: Unpack[RunFilter]) -> Iterator[Run]:
        """Yield all runs, newest first."""
        return _all(lambda cursor: self.runs_page(cursor=cursor, limit=_PAGE, **where))

    def cancel(self, run_id: str) -> Run:
        """Ask for the run's end; it has come when the run's state says so."""
        return cast("Run", self._transport.ask("POST", f"{_run(run_id)}/cancel"))

    def rerun(self, run_id: str, rerun: nouns.Rerun) -> nouns.RerunAnswer:
        """Queue the next attempt; the answer's attempt has the plan, if it was made in time."""
        answer = self._transport.ask("POST", f"{_run(run_id)}/rerun", body=rerun, timeout_s=_SLOW_S)
        return cast("nouns.RerunAnswer", answer)

    def delete(self, run_id: str) -> None:
        """Remove an ended run and its files."""
        self._transport.send("DELETE", _run(run_id), timeout_s=_SLOW_S)

    def prune(self, rule: nouns.PruneRule, *, dry_run: bool) -> Iterator[nouns.PrunedRun]:
        """Yield the ended runs that a rule names, and remove them unless it is a ``dry_run``.

        A run is removed by the time it is yielded; when the connection breaks, those before stay removed.
        """

        def page(cursor: str | None) -> Page[nouns.PrunedRun]:
            body = {**rule, "dry_run": dry_run, "cursor": cursor}
            return cast("Page[nouns.PrunedRun]", self._transport.ask("POST", "/prune", body=body, timeout_s=_SLOW_S))

        return _all(page)

    def deliveries(self, run_id: str) -> Iterator[nouns.Delivery]:
        """Yield what webhooks were told about the run, oldest first."""
        where: Params = {"limit": _PAGE}
        return _all(lambda cursor: self._get(f"{_run(run_id)}/deliveries", {**where, "cursor": cursor}))

    def audit(self, run_id: str | None = None) -> Iterator[nouns.AuditLine]:
        """Yield what was removed, newest first; for administrators."""
        where: Params = {"run": run_id, "limit": _PAGE}
        return _all(lambda cursor: self._get("/audit", {**where, "cursor": cursor}))

    def attempts(self, run_id: str) -> list[nouns.Attempt]:
        """Return the run's attempts, oldest first."""
        return cast("Page[nouns.Attempt]", self._get(f"{_run(run_id)}/attempts"))["items"]

    def attempt(self, run_id: str, number: int) -> nouns.Attempt:
        """Return one attempt."""
        return cast("nouns.Attempt", self._get(f"{_run(run_id)}/attempts/{number}"))

    def jobs(
        self, run_id: str, *, attempt: int | None = None, states: Sequence[str] = (), rule: str | None = None
    ) -> Iterator[nouns.Job]:
        """Yield the jobs of one attempt, or of all."""
        where: Params = {"attempt": attempt, "state": list(states), "rule": rule, "limit": _PAGE}
        return _all(lambda cursor: self._get(f"{_run(run_id)}/jobs", {**where, "cursor": cursor}))

    def job(self, run_id: str, job: int, *, attempt: int | None = None) -> nouns.Job:
        """Return one job of an attempt; of the newest, if none is named."""
        return cast("nouns.Job", self._get(f"{_run(run_id)}/jobs/{job}", {"attempt": attempt}))

    def rules(self, run_id: str, *, attempt: int | None = None) -> list[nouns.RuleStates]:
        """Return how many jobs of each rule are in which state."""
        return cast("Page[nouns.RuleStates]", self._get(f"{_run(run_id)}/rules", {"attempt": attempt}))["items"]

    def efficiency(self, run_id: str, *, attempt: int | None = None) -> nouns.RunEfficiency:
        """Return how well an attempt's jobs used what a scheduler gave them."""
        return cast("nouns.RunEfficiency", self._get(f"{_run(run_id)}/efficiency", {"attempt": attempt}))

    def run_cost(self, run_id: str, *, attempt: int | None = None) -> nouns.RunCost:
        """Return what a run, or one attempt of it, cost."""
        return cast("nouns.RunCost", self._get(f"{_run(run_id)}/cost", {"attempt": attempt}))

    def costs(self, **where: Unpack[nouns.CostFilter]) -> nouns.Costs:
        """Return what runs cost in some months, all pages of it; without months, in this one."""
        params = cast("dict[str, Any]", where) | {"limit": _PAGE}
        page: nouns.Costs = self._get("/cost", params)
        params |= {"since": page["since"], "until": page["until"]}  # the month may end meanwhile
        while page["next"] is not None:
            more: nouns.Costs = self._get("/cost", {**params, "cursor": page["next"]})
            page = {**more, "items": [*page["items"], *more["items"]]}
        return page

    def run_log(
        self, run_id: str, *, attempt: int | None = None, tail: int | None = None, start: int = 0
    ) -> Iterator[bytes]:
        """Yield snakemake's output: all, the last ``tail`` lines, or from byte ``start`` on."""
        return files.read_from(self._transport, f"{_run(run_id)}/log", {"attempt": attempt, "tail": tail}, start)

    def job_log(
        self,
        run_id: str,
        job: int,
        *,
        attempt: int | None = None,
        tail: int | None = None,
        start: int = 0,
        source: str | None = None,
    ) -> Iterator[bytes]:
        """Yield a job's log: all, the last ``tail`` lines, or from byte ``start`` on. ``source``: rule, scheduler."""
        path = f"{_run(run_id)}/jobs/{job}/log"
        return files.read_from(self._transport, path, {"attempt": attempt, "tail": tail, "source": source}, start)

    def log_size(
        self, run_id: str, job: int | None = None, *, attempt: int | None = None, source: str | None = None
    ) -> int:
        """Return how many bytes the run's log has by now, or the log of one of its jobs."""
        path = f"{_run(run_id)}/log" if job is None else f"{_run(run_id)}/jobs/{job}/log"
        return files.size(self._transport, path, {"attempt": attempt, "source": source})

    def events(
        self, run_id: str, *, after: str | None = None, retrying: Retrying | None = None
    ) -> Iterator[StreamEvent]:
        """Yield what happens in the run until its end, from the first attempt on or from behind the event ``after``.

        A connection that breaks is taken up again where it broke; ``retrying`` is told why, and how long the pause is.
        """
        return iter(Follower(self._transport, f"{_run(run_id)}/events", after, retrying))

    def artifacts(self, run_id: str, kind: str | None = None) -> Iterator[nouns.Artifact]:
        """Yield the run's output files by path, those of one kind or all."""
        where: Params = {"limit": _PAGE, "kind": kind}
        return _all(lambda cursor: self._get(f"{_run(run_id)}/artifacts", {**where, "cursor": cursor}))

    def download(
        self,
        run_id: str,
        path: str,
        destination: Path,
        *,
        sha256: str | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Bring an output file to ``destination``, which is replaced only once everything has arrived and been checked.

        What lies in a storage is fetched there, without the token; through the server where it cannot be reached.
        ``progress`` is called with the number of bytes that are here. Raises OSError from the disk, too.
        """
        if ".." in path.split("/"):
            raise Invalid(f"{path!r} is not the path of an output file", field="path")
        address = f"{_run(run_id)}/artifacts/{quote(path.encode(errors='surrogateescape'), safe='/')}"
        files.Download(self._transport, address, destination, sha256, progress).run()

    def archive(self, run_id: str, kind: str | None = None) -> Iterator[bytes]:
        """Yield a tar archive of the run's output files, those of one kind or all, while it is made.

        Raises Unavailable when it breaks off; what came before is not a whole archive then.
        """
        with self._transport.stream(
            f"{_run(run_id)}/archive", params={"kind": kind}, media_type="application/x-tar"
        ) as response:
            yield from response.iter_raw()

    def gates(self, states: Sequence[str] = ()) -> Iterator[nouns.Gate]:
        """Yield the gates of all runs, those of the newest run first."""
        where: Params = {"state": list(states), "limit": _PAGE}
        return _all(lambda cursor: self._get("/gates", {**where, "cursor": cursor}))

    def run_gates(self, run_id: str) -> nouns.RunGates:
        """Return the gates that a run has reached, and what was decided about them."""
        return cast("nouns.RunGates", self._get(f"{_run(run_id)}/gates"))

    def decide(self, run_id: str, choice: nouns.Choice) -> nouns.DecisionAnswer:
        """Approve or reject a gate."""
        return cast("nouns.DecisionAnswer", self._transport.ask("POST", f"{_run(run_id)}/decisions", body=choice))

    def workflows(self) -> list[nouns.Workflow]:
        """Return the catalog's workflows."""
        return list(_all(lambda cursor: self._get("/workflows", {"cursor": cursor})))

    def workflow(self, name: str) -> nouns.Workflow:
        """Return one workflow, with the schema of its configuration and the defaults."""
        return cast("nouns.Workflow", self._get(f"/workflows/{_segment(name)}"))

    def targets(self) -> list[nouns.Target]:
        """Return where runs can be made."""
        return list(_all(lambda cursor: self._get("/targets", {"cursor": cursor})))

    def ready(self) -> nouns.Health:
        """Return the server's own checks; its ``status`` is "ok" if it can do its work."""
        return cast("nouns.Health", self._transport.ask("GET", "/health/ready", accept=(_UNAVAILABLE,)))

    def _get(self, path: str, params: Params | None = None) -> Any:
        return self._transport.ask("GET", path, params=params)


def _all(page_after: Callable[[str | None], Page[T]]) -> Iterator[T]:
    cursor = None
    while True:
        page = page_after(cursor)
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _run(run_id: str) -> str:
    return f"/runs/{_segment(run_id)}"


def _segment(text: str) -> str:
    """Return ``text`` as one segment of a path; an empty one or dots would make it another path."""
    if text in {"", ".", ".."}:
        raise Invalid(f"{text!r} is not a name")
    return quote(text, safe="")
