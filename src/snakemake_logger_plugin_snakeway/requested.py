"""Which files snakemake was asked for. Its log tells of jobs and their files, not of what the files are wanted for.

The workflow is found where Snakemake logs: in the function that begins to execute it. It is looked at only from the
thread that changes it, and after the end.
"""

import os.path
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from snakeway.wire import REQUESTED_FILES

_FRAMES = 12  # between Snakemake's function and a filter of its logger; the logging library has five


class Requested:
    """The files that an attempt is asked for, as far as they are known: a checkpoint can add to them."""

    def __init__(self) -> None:
        self._workflow: Any = None
        self._told: set[str] = set()

    def begin(self) -> None:
        """Note the workflow whose start is being logged by this thread."""
        found = caller("execute")
        self._workflow = found if hasattr(found, "dag_settings") else None

    def end(self) -> None:
        """Let go of the workflow."""
        self._workflow = None

    def fresh(self) -> list[str]:
        """Return the files that were not returned before; together never more than an attempt's record may hold.

        A file that was asked for by its name; the outputs of a rule that was; the inputs of one that makes no file,
        such as ``all``. What was only forced (``--forcerun``) was not asked for.
        """
        if self._workflow is None or getattr(self._workflow, "_dag", None) is None:
            return []
        names = (name for name in _requested(self._workflow) if name not in self._told)
        fresh = list(dict.fromkeys(islice(names, REQUESTED_FILES - len(self._told))))
        self._told.update(fresh)
        return fresh


def caller(function: str) -> Any:
    """Return the object whose method of this name is logging in this thread; None if there is none."""
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_code.co_name == function:
            return frame.f_locals.get("self")
    return None


def directories(files: Iterable[Any]) -> list[str]:
    """Return the names of those of a job's outputs that are folders."""
    return [name_of(file) for file in files if file.is_directory]


def _requested(workflow: Any) -> Iterator[str]:
    settings = workflow.dag_settings
    asked = [*settings.targets, *settings.until]
    if not settings.targets and workflow.default_target is not None:
        asked.append(workflow.default_target)
    rules = {name for name in asked if workflow.is_rule(name)}
    # Named as in the workflow's files, as `Workflow._prepare_dag` does it: its own set has the forced files as well.
    files = {name_of(workflow.modifier.path_modifier.apply_default_storage(name)) for name in map(_relative, asked)}
    for file in workflow.dag.targetfiles:
        if name_of(file) in files:
            yield name_of(file)
    for job in workflow.dag.targetjobs:
        if job.rule.name in rules:
            for file in job.output or job.input:
                if not file.flags.get("checkpoint_target"):  # stands for files that are not known yet
                    yield name_of(file)


def _relative(name: str) -> str:
    return name if Path(name).is_absolute() else os.path.relpath(name)


def name_of(file: Any) -> str:
    """Return the name that a workflow gives to a file of Snakemake's: that of one in object storage is its address."""
    storage = getattr(file, "flags", {}).get("storage_object")
    return str(file) if storage is None else str(storage.print_query)
