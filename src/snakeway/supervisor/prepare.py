"""Makes an attempt ready to be launched: the run's directory, the workflow in it, the configuration, the command.

Every step may be repeated after a crash; nothing here starts a process.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from snakeway.catalog import Catalog
from snakeway.directory import AttemptDirectory, read_json, run_directory, write_json
from snakeway.gatefile import Decision, write_decision
from snakeway.model.attempt import AttemptState, Overrides
from snakeway.model.failure import FailureKind
from snakeway.rows import AttemptRow, GateRow, RunRow
from snakeway.settings import Settings
from snakeway.supervisor import command
from snakeway.supervisor.stop import Graces


def prepare(
    run: RunRow,
    attempt: AttemptRow,
    earlier: Sequence[AttemptRow],
    decisions: Sequence[Decision],
    unmade: Sequence[GateRow],
    catalog: Catalog,
    settings: Settings,
    traceparent: str | None,
) -> Path:
    """Write everything the shim reads; returns the attempt's directory.

    Raises SnakewayError when the workflow's snapshot or the target is gone, OSError when the disk says no.
    """
    target = catalog.target(attempt.target)
    directory = run_directory(settings.data_dir, run.id)
    directory.create(run.id)
    catalog.materialise(attempt.digest, directory.path)
    for decision in decisions:
        write_decision(directory.path, decision)
    folder = directory.attempt(attempt.number)
    _set_aside(folder, attempt.id)
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if attempt.config:
        temporary = folder.config.with_name(".config.yaml")
        temporary.write_text(yaml.safe_dump(attempt.config, sort_keys=False, allow_unicode=True), encoding="utf-8")
        temporary.replace(folder.config)
    order = command.Order(
        run_id=run.id,
        attempt_id=attempt.id,
        number=attempt.number,
        directory=directory.path,
        attempt=folder,
        profile=target.path,
        profile_options=target.profile,
        overrides=_asking_again(attempt, earlier, unmade, directory.path),
        has_config=bool(attempt.config),
        wants_plan=attempt.wants_plan,
        dry_run=attempt.dry_run,
        unlock=_left_a_lock(earlier),
        graces=Graces(settings.stop_interrupt_grace_s, settings.stop_kill_grace_s),
        traceparent=traceparent,
        snakemake=target.snakemake,
    )
    write_json(folder.command, command.build(order), sync=True)
    return folder.path


def _asking_again(
    attempt: AttemptRow, earlier: Sequence[AttemptRow], unmade: Sequence[GateRow], directory: Path
) -> Overrides:
    """Return the attempt's overrides, with the gates forced whose output is missing.

    Snakemake does not miss their outputs if what depends on them was made before. Only those of an attempt that asked
    for the same: what is forced becomes a target, and a rule that is not there any more would be an error.
    """
    overrides = Overrides.from_json(attempt.overrides)
    same = {before.id for before in earlier if _asks_for(before) == _asks_for(attempt)}
    asked = [gate.name for gate in unmade if gate.attempt_id in same and not gate.name.startswith("-")]
    missing = [name for name in asked if not (directory / name).exists()]
    return replace(overrides, forcerun=[*overrides.forcerun, *missing])


def _asks_for(attempt: AttemptRow) -> tuple[Any, ...]:
    overrides = Overrides.from_json(attempt.overrides)
    return attempt.digest, attempt.config, overrides.targets, overrides.until


def _set_aside(folder: AttemptDirectory, attempt_id: str) -> None:
    """Rename the folder of another attempt of this number: one that a database restored from a backup has forgotten."""
    command_ = read_json(folder.command)
    if command_ is not None and command_.get("attempt_id") != attempt_id:
        folder.path.replace(folder.path.with_name(f"{folder.path.name}.{command_.get('attempt_id')}"))


def _left_a_lock(earlier: Sequence[AttemptRow]) -> bool:
    """Whether an attempt since the last success may have left Snakemake's lock on the directory.

    Snakemake removes it whenever it ends by itself. One that was stopped or lost may have left it, and one that failed
    after that may have failed before it could be unlocked. One that found a lock said so; who re-runs it then knows
    that nobody else works there.
    """
    newest = earlier[-1].failure if earlier else None
    if newest is not None and newest.get("kind") == FailureKind.LOCKED:
        return True
    states = [attempt.state for attempt in reversed(earlier) if not attempt.dry_run and attempt.started_at is not None]
    since = itertools.takewhile(lambda state: state is not AttemptState.SUCCEEDED, states)
    return any(state in (AttemptState.CANCELLED, AttemptState.LOST) for state in since)
