"""Makes an attempt ready to be launched: the run's directory, the workflow in it, the configuration, the command.

Every step may be repeated after a crash; nothing here starts a process.
"""

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from snakeway.catalog import Catalog, deploys_sources, effective, storage_url
from snakeway.directory import AttemptDirectory, run_directory
from snakeway.errors import Invalid
from snakeway.gatefile import Decision, write_decision
from snakeway.model.attempt import AttemptReason, AttemptState, Overrides
from snakeway.model.failure import FailureKind
from snakeway.model.image import OPTION, image_for
from snakeway.model.input import resolved
from snakeway.owner import Owner, carried, of_directory, of_person
from snakeway.rows import AttemptRow, GateRow, RunRow
from snakeway.settings import Settings
from snakeway.supervisor import command
from snakeway.supervisor.order import write_order
from snakeway.supervisor.stop import Graces


@dataclass(frozen=True, slots=True)
class Prepared:
    """An attempt that can be launched."""

    directory: AttemptDirectory
    owner: Owner | None  # who runs it; None: the service
    command: dict[str, Any]
    config: str | None
    executor: str  # of the target
    storage_url: str | None  # where the run's files are, None: in its directory
    image: str | None  # that jobs run in, where they run in containers


def prepare(
    run: RunRow,
    attempt: AttemptRow,
    earlier: Sequence[AttemptRow],
    decisions: Sequence[Decision],
    unmade: Sequence[GateRow],
    catalog: Catalog,
    settings: Settings,
    traceparent: str | None,
) -> Prepared:
    """Make the run's directory ready, and the order that the shim reads.

    In the directory of another account only files of the workflow are written here, beneath open folders; the rest is
    written as that account, which could have put links where the service would write.

    Raises SnakewayError when the workflow's snapshot or the target is gone or the run's owner has no account, OSError
    when the disk or sudo says no.
    """
    target = catalog.target(attempt.target)
    options = effective(target, run.id, os.environ)
    usual, asked = options.get(OPTION), Overrides.from_json(attempt.overrides).image
    image = image_for(str(usual), asked) if usual else None
    directory = run_directory(settings.data_dir, run.id)
    owner = _owner_of(run, settings)
    if owner is None:
        directory.create(run.id)
    else:
        owner.make_directory(run.id)
    # git would not touch another account's directory; there jobs get what Snakemake finds by itself.
    deployable = owner is None and deploys_sources(target.profile)
    catalog.materialise(attempt.digest, directory.path, deployable=deployable)
    for decision in decisions:
        if owner is None:
            write_decision(directory.path, decision)
        else:
            owner.call("decide", run.id, given=json.dumps(asdict(decision)))
    folder = directory.attempt(attempt.number)
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
        image=image if asked is not None else None,
        resume_since=_resume_since(attempt, earlier),
    )
    chosen = resolved(attempt.config, {each["id"]: each["path"] for each in run.inputs})
    config = yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True) if chosen else None
    content = command.build(order)
    if owner is None:
        write_order(folder, content, config)
    else:
        content["env"] = carried(os.environ, settings.owner_environment) | content["env"]
    return Prepared(folder, owner, content, config, target.executor, storage_url(options, os.environ), image)


def _resume_since(attempt: AttemptRow, earlier: Sequence[AttemptRow]) -> float | None:
    """Return when the first of the attempts started that do the same as this one, if it recovers one of them."""
    if attempt.reason is not AttemptReason.RECOVERY:
        return None
    same = (before for before in reversed(earlier) if before.dry_run == attempt.dry_run)
    first = next((before for before in same if before.reason is not AttemptReason.RECOVERY), None)
    return first.started_at.timestamp() if first is not None and first.started_at is not None else None


def _owner_of(run: RunRow, settings: Settings) -> Owner | None:
    owner = of_person(settings, run.owner)
    before = of_directory(settings.data_dir, run.id)
    if owner is None and before is not None:
        raise Invalid(
            f"the run has begun as the account {before.account} and cannot go on as the service's own; switch "
            "run_as_owner on, or submit a new run"
        )
    return owner


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
