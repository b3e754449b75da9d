"""Gates over HTTP: which wait for a person, what there is to look at, and the decision."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, get, post
from litestar.params import BodyKwarg, QueryParameter
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer, example
from snakeway.api.problems import documented
from snakeway.api.query import DEFAULT_LIMIT, MOST_VALUES, Cursor, Limit
from snakeway.api.run import EXAMPLE as EXAMPLE_RUN
from snakeway.api.run import Run
from snakeway.api.shared import EXAMPLE_DIGEST, EXAMPLE_RUN_ID, EXAMPLE_TIME, RunId, TheCommands
from snakeway.gatefile import Verdict
from snakeway.model.gate import GateState
from snakeway.rows import DecisionRow, GateRow
from snakeway.service import Choice

_MAX_COMMENT = 10_000
_DIGEST = EXAMPLE_DIGEST.removeprefix("sha256:")


class Evidence(Struct, frozen=True):
    """A file to look at; one that a job made can be downloaded as an artifact of the same path."""

    path: str
    size_bytes: int
    sha256: str


class Gate(Struct, frozen=True):
    """A gate that a run has reached."""

    run_id: str
    name: Annotated[str, Meta(description="Path of its output, within the run's directory.")]
    state: GateState
    rule: str
    wildcards: dict[str, Any]
    title: Annotated[str, Meta(description="What is to be decided.")]
    evidence: list[Evidence]
    digest: Annotated[str, Meta(description="Of the evidence; send it with the decision to be sure what it is about.")]
    schema: Annotated[dict[str, Any] | None, Meta(description="JSON Schema of the answer; null: any will do.")]
    asked_at: datetime
    deadline_at: datetime | None
    answer: Annotated[Any, Meta(description="Of the last decision.")]
    comment: str
    decided_by: str | None
    decided_at: datetime | None

    @classmethod
    def of(cls, row: GateRow) -> "Gate":
        """Make the one shape of a gate."""
        return cls(
            run_id=row.run_id,
            name=row.name,
            state=row.state,
            rule=row.rule,
            wildcards=row.wildcards,
            title=row.title,
            evidence=[Evidence(one["path"], one["size_bytes"], one["sha256"]) for one in row.evidence],
            digest=row.digest,
            schema=row.answer_schema,
            asked_at=row.asked_at,
            deadline_at=row.deadline_at,
            answer=row.answer,
            comment=row.comment,
            decided_by=row.decided_by,
            decided_at=row.decided_at,
        )


class GatePage(Struct, frozen=True):
    """Gates, those of the newest run first."""

    items: list[Gate]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]


class Decision(Struct, frozen=True):
    """What was decided about a gate, by whom, and when."""

    gate: str
    verdict: Verdict
    answer: Any
    comment: str
    digest: Annotated[str, Meta(description="Of the evidence that it is about.")]
    decided_by: str
    decided_at: datetime

    @classmethod
    def of(cls, row: DecisionRow) -> "Decision":
        """Make the one shape of a decision."""
        verdict = Verdict(row.verdict)
        return cls(row.gate, verdict, row.answer, row.comment, row.digest, row.decided_by, row.decided_at)


class RunGates(Struct, frozen=True):
    """The gates that a run has reached, by name, and everything that was decided, oldest first."""

    gates: list[Gate]
    decisions: list[Decision]


class DecisionRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What somebody decides."""

    gate: Annotated[
        str, Meta(min_length=1, max_length=1024, description="Its name, or an end of it that no other gate has.")
    ]
    verdict: Verdict
    answer: Annotated[Any, Meta(description="For the workflow, as the gate's schema wants it.")] = None
    comment: Annotated[str, Meta(max_length=_MAX_COMMENT, description="Why; for people.")] = ""
    digest: Annotated[
        str | None, Meta(description="Of the evidence that was looked at; refused if it is another by now.")
    ] = None


class DecisionAnswer(Struct, frozen=True):
    """The run and the gate as they stand."""

    run: Run
    gate: Gate


EXAMPLE = Gate(
    run_id=EXAMPLE_RUN_ID,
    name="results/gates/plate1.json",
    state=GateState.OPEN,
    rule="review",
    wildcards={"plate": "plate1"},
    title="Are the cells of plate 1 in focus?",
    evidence=[Evidence("results/qc/plate1.png", 48213, _DIGEST)],
    digest=_DIGEST,
    schema={"type": "object", "properties": {"threshold": {"type": "number"}}},
    asked_at=EXAMPLE_TIME,
    deadline_at=None,
    answer=None,
    comment="",
    decided_by=None,
    decided_at=None,
)
_EXAMPLE_DECISION = Decision(
    EXAMPLE.name, Verdict.APPROVED, {"threshold": 0.4}, "looks good", _DIGEST, "local", EXAMPLE_TIME
)
_EXAMPLE_REQUEST = DecisionRequest("plate1", Verdict.APPROVED, {"threshold": 0.4}, "looks good")


class GateController(Controller):
    """Gates of all runs."""

    path = "/gates"
    tags = ("gates",)

    @get(
        sync_to_thread=True,
        operation_id="list_gates",
        summary="List gates",
        responses={200: answer(GatePage, GatePage([EXAMPLE], next=None)), **documented(errors.InvalidCursor)},
    )
    def list_(
        self,
        request: ApiRequest,
        commands: TheCommands,
        states: Annotated[
            list[GateState] | None, QueryParameter(name="state", max_items=MOST_VALUES, description="In one of these.")
        ] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> GatePage:
        """Gates of the runs that you may see."""
        page = commands.gates.list(request.user, states or [], cursor, limit)
        return GatePage([Gate.of(row) for row in page.items], page.next)


class RunGateController(Controller):
    """Gates of one run."""

    path = "/runs/{run_id:str}"
    tags = ("gates",)

    @get(
        "/gates",
        sync_to_thread=True,
        operation_id="list_run_gates",
        summary="List a run's gates",
        responses={200: answer(RunGates, RunGates([EXAMPLE], [_EXAMPLE_DECISION])), **documented(errors.RunNotFound)},
    )
    def of_run(self, request: ApiRequest, commands: TheCommands, run_id: RunId) -> RunGates:
        """The gates that the run has reached, and who decided what."""
        gates, decisions = commands.gates.of_run(request.user, run_id)
        return RunGates([Gate.of(row) for row in gates], [Decision.of(row) for row in decisions])

    @post(
        "/decisions",
        status_code=202,
        sync_to_thread=True,
        operation_id="decide_gate",
        summary="Approve or reject a gate",
        responses={
            202: answer(DecisionAnswer, DecisionAnswer(EXAMPLE_RUN, EXAMPLE), "The decision is recorded."),
            **documented(
                errors.RunNotFound,
                errors.OutsideRun,
                errors.GateNotFound,
                errors.GateExpired,
                errors.GateDecided,
                errors.EvidenceChanged,
                body=True,
            ),
        },
    )
    def decide(
        self,
        request: ApiRequest,
        commands: TheCommands,
        run_id: RunId,
        data: Annotated[DecisionRequest, BodyKwarg(examples=[example(_EXAMPLE_REQUEST)])],
    ) -> DecisionAnswer:
        """Records the decision. Approved, the run goes on with the answer; rejected, it fails with the comment."""
        choice = Choice(data.gate, data.verdict, data.answer, data.comment, data.digest)
        run, gate = commands.gates.decide(request.user, run_id, choice)
        return DecisionAnswer(Run.of(run), Gate.of(gate))
