"""Logs over HTTP: what snakemake wrote in an attempt, and what a job wrote into its ``log:`` file."""

from pathlib import Path
from typing import Annotated

from litestar import Controller, route
from litestar.openapi import ResponseSpec
from litestar.params import PathParameter, QueryParameter
from litestar.response.base import ASGIResponse

from snakeway import errors
from snakeway.api import files
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer, with_head
from snakeway.api.problems import documented
from snakeway.api.query import LARGEST_NUMBER, AttemptNumber
from snakeway.api.ranges import MOST_TAIL_LINES
from snakeway.api.shared import RunId, TheReads
from snakeway.errors import LogNotFound
from snakeway.model.job import LogSource

_TEXT = "text/plain; charset=utf-8"
_EXAMPLE = "Building DAG of jobs...\nUsing shell: /usr/bin/bash\n"

Tail = Annotated[
    int | None,
    QueryParameter(ge=1, le=MOST_TAIL_LINES, description="Only the last so many lines; a Range is then passed over."),
]


def _answers(*classes: type[errors.SnakewayError]) -> dict[int, ResponseSpec]:
    return {
        200: answer(str, _EXAMPLE, "The log as it is now, or its last lines.", "text/plain"),
        206: answer(str, _EXAMPLE, "The range that was asked for.", "text/plain"),
        304: answer(None, None, "The log is as If-None-Match knows it."),
        **documented(errors.RunNotFound, errors.AttemptNotFound, LogNotFound, errors.RangeNotSatisfiable, *classes),
    }


class LogController(Controller):
    """Logs of runs and jobs."""

    path = "/runs/{run_id:str}"
    tags = ("logs",)

    @route(
        "/log",
        http_method=["GET", "HEAD"],
        sync_to_thread=True,
        operation_id=with_head("get_run_log"),
        summary="Get the log of a run",
        responses=_answers(),
    )
    def run_log(
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        attempt: AttemptNumber = None,
        tail: Tail = None,
    ) -> ASGIResponse:
        """What snakemake printed in one attempt. Grows while it runs: go on with `Range: bytes=<size so far>-`."""
        return _send(request, reads.run_log(request.user, run_id, attempt), reads.directory(run_id).path, tail)

    @route(
        "/jobs/{job:int}/log",
        http_method=["GET", "HEAD"],
        sync_to_thread=True,
        operation_id=with_head("get_job_log"),
        summary="Get the log of a job",
        responses=_answers(errors.JobNotFound, errors.Unavailable),
    )
    def job_log(
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        job: Annotated[int, PathParameter(ge=0, le=LARGEST_NUMBER, description="Snakemake's number of the job.")],
        attempt: AttemptNumber = None,
        tail: Tail = None,
        source: Annotated[
            LogSource | None,
            QueryParameter(description="Only this log; by default the rule's, or else the scheduler's."),
        ] = None,
    ) -> ASGIResponse:
        """The first of the files that the rule names under `log:` and that exists, or else the scheduler's log.

        Of a job of a run by hand: the last lines, once it has failed.
        """
        shipped = reads.shipped_log(request.user, run_id, attempt, job)
        if shipped is not None:
            return _send_text(request, shipped, tail)
        path, root = reads.job_log(request.user, run_id, attempt, job, source)
        return _send(request, path, root, tail)


def _send(request: ApiRequest, path: Path, root: Path, tail: int | None) -> ASGIResponse:
    file = files.OpenFile(path, LogNotFound("the log is gone, or is not a plain file"), root)
    return files.respond(request, file, _TEXT, tail=tail)


def _send_text(request: ApiRequest, text: bytes, tail: int | None) -> ASGIResponse:
    """Answer with a text of a few kilobytes, for which a range is passed over."""
    if tail is not None:
        text = b"".join(text.splitlines(keepends=True)[-tail:])
    headers = {"Cache-Control": "private, no-cache", "Content-Security-Policy": files.POLICY}
    return ASGIResponse(body=text, headers=headers, media_type=_TEXT, is_head_response=request.method == "HEAD")
