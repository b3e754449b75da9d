"""Makes an attempt ready to be launched: the run's directory, the workflow in it, the configuration, the command.

Every step may be repeated after a crash; nothing here starts a process.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml

from snakeway.catalog import Catalog
from snakeway.directory import run_directory, write_json
from snakeway.model.attempt import AttemptState, Overrides
from snakeway.rows import AttemptRow, RunRow
from snakeway.supervisor import command


def prepare(
    run: RunRow,
    attempt: AttemptRow,
    earlier: Sequence[AttemptRow],
    catalog: Catalog,
    data_dir: Path,
    traceparent: str | None,
) -> Path:
    """Write everything the shim reads; returns the attempt's directory.

    Raises SnakewayError when the workflow's snapshot or the target is gone, OSError when the disk says no.
    """
    target = catalog.target(attempt.target)
    directory = run_directory(data_dir, run.id)
    directory.create(run.id)
    catalog.materialise(attempt.digest, directory.path)
    folder = directory.attempt(attempt.number)
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if attempt.config:
        temporary = folder.config.with_name(".config.yaml")
        temporary.write_text(yaml.safe_dump(attempt.config, sort_keys=False, allow_unicode=True))
        temporary.replace(folder.config)
    order = command.Order(
        run_id=run.id,
        attempt_id=attempt.id,
        number=attempt.number,
        directory=directory.path,
        attempt=folder,
        profile=target.path,
        profile_options=target.profile,
        overrides=Overrides.from_json(attempt.overrides),
        has_config=bool(attempt.config),
        wants_plan=attempt.wants_plan,
        dry_run=attempt.dry_run,
        unlock=_left_a_lock(earlier),
        traceparent=traceparent,
        snakemake=target.snakemake,
    )
    write_json(folder.command, command.build(order), sync=True)
    return folder.path


def _left_a_lock(earlier: Sequence[AttemptRow]) -> bool:
    """Whether the newest real attempt before this one may have left Snakemake's lock on the directory.

    Snakemake removes it whenever it ends by itself, in success and in failure.
    """
    ended = [attempt for attempt in earlier if not attempt.dry_run and attempt.started_at is not None]
    return bool(ended) and ended[-1].state in (AttemptState.CANCELLED, AttemptState.LOST)
