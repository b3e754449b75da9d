"""Start and end of a job, from the record that Snakemake keeps for each output file.

For a job that ran elsewhere this is the only source: Snakemake's events tell when it was submitted, and when a status
poll noticed its end.
"""

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path

_LARGEST_RECORD = 1024 * 1024  # bytes; it lists all inputs, and beyond this reading it would cost too much


class Metadata:
    """Snakemake's records below one working directory, as its file persistence lays them out.

    With another persistence (``--persistence-backend db``) there are none.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / ".snakemake" / "metadata"
        self._longest_name = 0

    def times(self, output: str, since: float) -> tuple[float, float] | None:
        """Return when the job that made ``output`` started, and when this output was last written.

        Both in seconds since the epoch. None if there is no record, or only one from before ``since``, which is of an earlier job.
        """
        try:
            path = self._path(output)
            with path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_size > _LARGEST_RECORD or stat.st_mtime < since:
                    return None
                record = json.load(file)
            start, end = float(record["starttime"]), float(record["endtime"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return (
            (start, end) if start <= end else None
        )  # an output may keep an older date, such as one unpacked or copied

    def _path(self, output: str) -> Path:
        if not self._longest_name:
            self._longest_name = (os.pathconf(self._folder, "PC_NAME_MAX") or 255) - 1
        name, step = urlsafe_b64encode(output.encode()).decode(), self._longest_name
        *folders, last = [name[at : at + step] for at in range(0, len(name), step)]
        return self._folder.joinpath(*("@" + folder for folder in folders), last)
