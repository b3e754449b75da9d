"""Commands of the person whom a workflow waits for: which gates there are, approve, reject."""

import getpass
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakeway import gatefile
from snakeway.cli import options, output, times, values
from snakeway.cli.connect import connect, find_run, run_id, short
from snakeway.cli.output import Column
from snakeway.errors import EvidenceChanged, GateDecided, GateExpired, GateNotFound, Invalid
from snakeway.gatefile import Verdict
from snakeway.model import gate as rules
from snakeway.model.gate import GateState

if TYPE_CHECKING:
    from snakeway.client import Choice, Client, Gate

_COLUMNS: list[Column["Gate"]] = [
    Column("RUN", lambda gate: gate["run_id"], lambda gate: short(gate["run_id"]), whole=True),
    Column("GATE", lambda gate: gate["name"], whole=True),
    Column("STATE", lambda gate: gate["state"], state=True),
    Column("ASKED", lambda gate: gate["asked_at"], lambda gate: times.ago(gate["asked_at"]), whole=True),
    Column("DEADLINE", lambda gate: gate["deadline_at"]),
    Column("DECIDED BY", lambda gate: gate["decided_by"]),
    Column("TITLE", lambda gate: gate["title"]),
    Column("EVIDENCE", lambda gate: ", ".join(found["path"] for found in gate["evidence"])),
]

GateArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN] [GATE]",
        help="The run (not with --directory), and the name of the gate or its end, if more than one is open.",
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option("--directory", "-d", metavar="DIR", help="Decide in this working directory, without a server."),
]
Comment = Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="Why, for people.")]


def gates(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Only gates of this run, decided ones as well.")
    ] = None,
    directory: Directory = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Show gates that were decided as well.")] = False,
    as_json: options.Json = False,
) -> None:
    """List gates that wait for a decision.

    When the output is not a terminal, the columns are: run, gate, state, asked, deadline, decided by, title, evidence.
    """
    if directory is not None:
        found = [_on_disk(directory, request) for request in gatefile.requests(directory)]
        if not all_:
            found = [gate for gate in found if gate["state"] == GateState.OPEN]
    else:
        with connect() as client:
            if run is not None:
                found = client.run_gates(run_id(client, run))["gates"]
            else:
                found = list(client.gates([] if all_ else [GateState.OPEN.value]))
    if as_json:
        output.document(found)
    else:
        output.table(_COLUMNS, found, empty="No gate waits for a decision.")


def approve(
    names: GateArguments = None,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="FILE", help="Answer as JSON or YAML; - reads standard input.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the answer. Can be repeated."),
    ] = None,
    comment: Comment = "",
    directory: Directory = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Approve a gate, perhaps with an answer for the workflow; the run goes on.

    snakeway approve RUN GATE, or with --directory: snakeway approve --directory . GATE, after which snakemake is to be
    started again there. Approving again with another answer has what depends on it made anew.
    """
    _decide(names or [], Verdict.APPROVED, _answer(answer, set_ or []), comment, directory, quiet, as_json)


def reject(
    names: GateArguments = None,
    comment: Comment = "",
    directory: Directory = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Reject a gate: the run fails, with the comment as its reason."""
    _decide(names or [], Verdict.REJECTED, None, comment, directory, quiet, as_json)


def _decide(
    names: list[str],
    verdict: Verdict,
    answer: Any,
    comment: str,
    directory: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    if directory is not None:
        if len(names) > 1:
            raise Invalid("with --directory only the gate is named", field="GATE")
        decided = _decide_on_disk(directory, names[0] if names else None, verdict, answer, comment)
        document: Mapping[str, Any] = decided
        state = "go on with snakemake" if verdict is Verdict.APPROVED else ""
    else:
        if not names or len(names) > 2:
            raise Invalid("name the run, and the gate if more than one is open", field="RUN")
        with connect() as client:
            id_ = find_run(client, names[0])["id"]
            gate = _chosen(client, id_, names[1] if len(names) > 1 else None)
            choice: Choice = {"gate": gate["name"], "verdict": verdict.value, "comment": comment}
            choice["digest"] = gate["digest"]
            if verdict is Verdict.APPROVED:
                choice["answer"] = answer
            given = client.decide(id_, choice)
        document, decided, state = given, given["gate"], given["run"]["state"]
    if as_json:
        output.document(document)
    elif not quiet:
        output.line(decided["name"], decided["state"], state)
        if verdict is Verdict.APPROVED and state in {"failed", "cancelled"}:
            output.hint(f"The run stays {state}; 'snakeway rerun {names[0]}' goes on with the decision.")


def _chosen(client: "Client", id_: str, wanted: str | None) -> "Gate":
    found = {gate["name"]: gate for gate in client.run_gates(id_)["gates"]}
    return found[_name_of(list(found), [name for name in found if found[name]["state"] == GateState.OPEN], wanted)]


def _name_of(names: list[str], waiting: list[str], wanted: str | None) -> str:
    if wanted is None:
        if len(waiting) != 1:
            which = f"{len(waiting)} gates wait: {', '.join(waiting[:5])}; name one" if waiting else "no gate waits"
            raise Invalid(which, field="GATE")
        return waiting[0]
    name = rules.find(names, wanted)
    if name is None:
        raise GateNotFound(rules.not_found(names, wanted))
    return name


def _decide_on_disk(directory: Path, wanted: str | None, verdict: Verdict, answer: Any, comment: str) -> "Gate":
    asked = {request.gate: request for request in gatefile.requests(directory)}
    found = {name: _on_disk(directory, request) for name, request in asked.items()}
    request = asked[_name_of(list(found), [name for name in found if found[name]["state"] == GateState.OPEN], wanted)]
    if found[request.gate]["state"] == GateState.EXPIRED:
        raise GateExpired(f"nobody decided about {request.gate} in time; run snakemake again, it asks again")
    if found[request.gate]["state"] == GateState.APPROVED and verdict is Verdict.REJECTED:
        raise GateDecided(f"{request.gate} was approved; approve it with another answer instead")
    for evidence in request.evidence:
        if not (directory / evidence.path).exists():
            raise EvidenceChanged(f"{evidence.path} is not there any more; run snakemake again")
    if verdict is Verdict.APPROVED:
        rules.check_answer(answer, request.schema)
    by = getpass.getuser()
    decision = gatefile.Decision(request.gate, request.digest, verdict, answer, comment, by, time.time())
    gatefile.write_decision(directory, decision)
    return _on_disk(directory, request)


def _on_disk(directory: Path, request: gatefile.Request) -> "Gate":
    """Return a gate in the shape that the API has, from its files alone."""
    decision = gatefile.read_decision(directory, request.gate)
    if decision is not None and decision.digest != request.digest:
        decision = None
    state = GateState(decision.verdict.value) if decision else GateState.OPEN
    if decision is None and request.deadline_at is not None and request.deadline_at < time.time():
        state = GateState.EXPIRED
    return {
        "run_id": "",
        "name": request.gate,
        "state": state.value,
        "rule": "",
        "wildcards": {},
        "title": request.title,
        "evidence": [{"path": e.path, "size_bytes": e.size_bytes, "sha256": e.sha256} for e in request.evidence],
        "digest": request.digest,
        "schema": request.schema,
        "asked_at": times.rfc3339(request.asked_at),
        "deadline_at": None if request.deadline_at is None else times.rfc3339(request.deadline_at),
        "answer": decision.answer if decision else None,
        "comment": decision.reason if decision else "",
        "decided_by": decision.by if decision else None,
        "decided_at": times.rfc3339(decision.at) if decision else None,
    }


def _answer(source: str | None, assignments: list[str]) -> Any:
    """Return the answer; None if none was given."""
    if source is None and not assignments:
        return None
    base = {} if source is None else values.document(Path("/dev/stdin" if source == "-" else source), "--answer")
    if not assignments:
        return base
    if not isinstance(base, dict):
        raise Invalid("--set sets members of an answer that is an object", field="--set")
    return values.merge(base, values.config(assignments, "--set"), field="--set")
