"""Events of a run by hand, as the logger plugin would write them."""

import json
from dataclasses import dataclass, field
from typing import Any

from snakeway import ids

T = 1_790_000_000.0  # when all of it happened


@dataclass
class Attempt:
    """One attempt by hand; ``line`` makes its next event."""

    run_id: str = field(default_factory=lambda: ids.new_id(int(T * 1000)))
    id: str = field(default_factory=lambda: ids.new_id(int(T * 1000)))
    seq: int = 0

    @property
    def path(self) -> str:
        """Its address below the API's base."""
        return f"/outside/{self.run_id}/{self.id}"

    def line(self, type_: str, **members: Any) -> bytes:
        event = {"seq": self.seq, "t": T + self.seq, "type": type_, **members}
        self.seq += 1
        return json.dumps(event).encode() + b"\n"

    def started(self, **members: Any) -> bytes:
        values = {
            "v": 1,
            "run_id": self.run_id,
            "attempt_id": self.id,
            "snakemake": "9.27.0",
            "host": "login1",
            "user": "ada",
            "pid": 1,
            "directory": "/home/ada/penguins",
            "command": "snakemake --profile profiles/slurm",
            "snakefile": "workflow/Snakefile",
            "dry_run": False,
            "outside": True,
            "profile": "slurm",
            "log": None,
            "traceparent": None,
        }
        return self.line("attempt_started", **(values | members))

    def job(self, number: int, **members: Any) -> bytes:
        values = {"rule": "fit", "wildcards": {"i": str(number)}, "reason": "Missing output files", "threads": 1}
        return self.line("job", job=number, **{"try": 1}, local=True, **(values | members))

    def finished(self, number: int) -> bytes:
        return self.line("job_finished", job=number, **{"try": 1}, started_at=T)

    def failed(self, number: int, **members: Any) -> bytes:
        values = {"rule": "fit", "exit_code": 7, "signal": None, "message": "no", "log": "a.log", "log_tail": "boom"}
        return self.line("job_failed", job=number, **{"try": 1}, **(values | members))

    def stats(self, total: int) -> bytes:
        return self.line("stats", jobs={"fit": total}, total=total)

    def ended(self) -> bytes:
        return self.line("attempt_ended", lost=0)
