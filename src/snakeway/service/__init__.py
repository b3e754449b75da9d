"""What can be done with runs, and by whom: the only place that checks ``may()``.

Commands write intent into the database and wake the supervisor; they start no process. Reads answer from the database
and from the run's directory.
"""

from snakeway.service.commands import Commands
from snakeway.service.reads import Reads
from snakeway.service.submission import Rerun, Submission

__all__ = ["Commands", "Reads", "Rerun", "Submission"]
