"""Efficiency over HTTP: how well the jobs of an attempt used what a scheduler gave them."""

from typing import Annotated, Any

from litestar import Controller, get
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer
from snakeway.api.problems import documented
from snakeway.api.query import AttemptNumber
from snakeway.api.shared import RunId, TheReads
from snakeway.model.scheduled import Efficiency as Known

_Ratio = float | None


class RuleEfficiency(Struct, frozen=True):
    """One rule. Null where the scheduler does not say."""

    rule: str
    jobs: Annotated[int, Meta(description="Jobs that succeeded and that the scheduler knows about.")]
    cpu_ratio: Annotated[_Ratio, Meta(description="Processor time used by all jobs / processors given times seconds.")]
    mem_ratio: Annotated[_Ratio, Meta(description="The largest of: most memory in use / memory given.")]
    cpus: Annotated[int | None, Meta(description="Most processors that a job was given.")]
    mem_mb: Annotated[float | None, Meta(description="Most memory that a job was given.")]
    max_rss_mb: Annotated[float | None, Meta(description="Most memory that a job was seen to use.")]
    queue_s: Annotated[float | None, Meta(description="Median of the seconds in the scheduler's queue.")]
    run_s: Annotated[float | None, Meta(description="Median of the seconds on a node.")]
    suggestion: Annotated[
        dict[str, Any] | None,
        Meta(description="Members for a re-run or a submission, when half of what was given would have been enough."),
    ]


class RunEfficiency(Struct, frozen=True):
    """The rules of an attempt, and all of them together."""

    rules: list[RuleEfficiency]
    cpu_ratio: _Ratio
    mem_ratio: Annotated[
        _Ratio, Meta(description="Memory in use / memory given, each at its most and summed over jobs.")
    ]


EXAMPLE = RunEfficiency(
    [
        RuleEfficiency(
            rule="fit",
            jobs=12,
            cpu_ratio=0.93,
            mem_ratio=0.31,
            cpus=2,
            mem_mb=8000,
            max_rss_mb=2480,
            queue_s=14,
            run_s=312,
            suggestion={"set_resources": {"fit": {"mem_mb": 3000}}},
        )
    ],
    cpu_ratio=0.93,
    mem_ratio=0.29,
)


class EfficiencyController(Controller):
    """How well resources were used."""

    path = "/runs/{run_id:str}/efficiency"
    tags = ("jobs",)

    @get(
        sync_to_thread=True,
        operation_id="get_efficiency",
        summary="Get the efficiency of a run",
        responses={
            200: answer(RunEfficiency, EXAMPLE),
            **documented(errors.RunNotFound, errors.AttemptNotFound),
        },
    )
    def one(self, request: ApiRequest, reads: TheReads, run_id: RunId, attempt: AttemptNumber = None) -> RunEfficiency:
        """What jobs used of what they were given, by rule: only of jobs on a cluster that keeps books."""
        rules, cpu_ratio, mem_ratio = reads.efficiency(request.user, run_id, attempt)
        return RunEfficiency([_rule(known) for known in rules], cpu_ratio, mem_ratio)


def _rule(known: Known) -> RuleEfficiency:
    return RuleEfficiency(**{name: getattr(known, name) for name in RuleEfficiency.__struct_fields__})
