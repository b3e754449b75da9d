"""The files that Snakemake keeps for each output, as its file persistence lays them out below ``.snakemake``.

``incomplete/`` has one from the submission of a job until its end. Snakemake writes it with the scheduler's id of the
job. A job that runs elsewhere is a snakemake of its own: where it shares the file system it writes the file again, now
without an id, when it starts. So the file tells the id as long as the job waits, and its start from then on.

``metadata/`` has one from the end of the job that made the output. Its ``starttime`` and ``endtime`` are of no use:
for local jobs they are the times of the events, and for jobs elsewhere both are when their end was noticed.

With another persistence (``--persistence-backend db``) there are no such files, and nothing is known.
"""

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import NamedTuple

_CLOCK_SLACK_S = 2.0  # by which the clock of a file server may be behind ours


class Marker(NamedTuple):
    """When the file of an incomplete output was written (seconds since the epoch), and the id in it."""

    t: float
    external_id: str | None


class Markers:
    """The files of one working directory."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / ".snakemake"
        self._longest_name = 0

    def incomplete(self, output: str) -> Marker | None:
        """The marker of the job that makes ``output``; None before its submission, after its end, or if unreadable."""
        try:
            with self._path("incomplete", output).open("rb") as file:
                written, content = os.fstat(file.fileno()).st_mtime, json.load(file)
            external_id = content["external_jobid"]
        except (OSError, ValueError, TypeError, KeyError):  # it may be read while it is written
            return None
        return Marker(written, None if external_id is None else str(external_id))

    def finished(self, output: str, since: float) -> float | None:
        """When Snakemake noted the end of the job that made ``output``; None if it has not done so after ``since``."""
        try:
            noted = self._path("metadata", output).stat().st_mtime
        except OSError:
            return None
        return noted if noted >= since - _CLOCK_SLACK_S else None

    def _path(self, kind: str, output: str) -> Path:
        folder = self._folder / kind
        if not self._longest_name:
            self._longest_name = (os.pathconf(folder, "PC_NAME_MAX") or 255) - 1
        name, step = urlsafe_b64encode(output.encode()).decode(), self._longest_name
        *parts, last = [name[at : at + step] for at in range(0, len(name), step)]
        return folder.joinpath(*("@" + part for part in parts), last)
