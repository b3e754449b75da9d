"""Rows to begin with."""

from collections.abc import Callable
from typing import Any

import pytest

from snakeway import ids
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.store import Store, attempts, runs

AddRun = Callable[..., RunRow]


@pytest.fixture
def add_run(store: Store) -> AddRun:
    """Commits a queued run with its first attempt, a dry run as well if it is one; arguments replace its members."""

    def add(**members: Any) -> RunRow:
        values: dict[str, Any] = {
            "id": ids.new_id(),
            "owner": "ada",
            "workflow": "w",
            "digest": "sha256:0",
            "target": "local",
        }
        run = RunRow(**(values | {"created_at": now()} | members))
        attempt = AttemptRow(
            id=ids.new_id(),
            run_id=run.id,
            number=1,
            owner=run.owner,
            target=run.target,
            digest=run.digest,
            dry_run=run.dry_run,
            created_at=now(),
        )
        with store.write() as tx:
            runs.add(tx, run)
            attempts.add(tx, attempt)
        return run

    return add
