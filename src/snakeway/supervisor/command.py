"""From what was asked for to the calls of snakemake: pure, no I/O, golden-tested."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snakeway import wire
from snakeway.directory import AttemptDirectory
from snakeway.model.attempt import Overrides, is_quantity
from snakeway.model.image import OPTION
from snakeway.supervisor.shim import Step
from snakeway.supervisor.stop import Graces

LOGGER = "snakeway"


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt, as its command needs to know it."""

    run_id: str
    attempt_id: str
    number: int
    directory: Path  # of the run
    attempt: AttemptDirectory
    profile: Path  # folder of the target
    profile_options: Mapping[str, Any]  # what the profile says
    overrides: Overrides
    has_config: bool
    wants_plan: bool  # a dry run first
    dry_run: bool  # nothing but the dry run
    unlock: bool  # the attempt before this one did not end cleanly
    graces: Graces
    traceparent: str | None = None
    snakemake: str | None = None  # a program of the target's own
    image: str | None = None  # for jobs, instead of the profile's
    resume_since: float | None = None  # it goes on with what attempts since then have begun


def build(order: Order) -> dict[str, Any]:
    """Return the content of ``command.json``.

    Values that a user chose stand in argv only as rule names, resource values and file names behind the options that
    take them; the configuration is a file. Targets come behind ``--``, so none can be an option.
    """
    steps = []
    base = _base(order)
    if order.unlock:
        steps.append(Step("unlock", [*base, "--unlock"], {}))
    run = [*base, "--rerun-incomplete", *_loggers(order.profile_options), *_overrides(order.overrides)]
    targets = ["--", *order.overrides.targets] if order.overrides.targets else []
    if order.wants_plan or order.dry_run:
        plan = [*run, "--dry-run", *targets]
        steps.append(Step("plan", plan, {wire.ENV_EVENTS: str(order.attempt.plan), "OTEL_SDK_DISABLED": "true"}))
    if not order.dry_run:
        steps.append(Step("run", [*run, *targets], {wire.ENV_EVENTS: str(order.attempt.events)}))
    return {
        "run_id": order.run_id,
        "attempt_id": order.attempt_id,
        "number": order.number,
        "directory": str(order.directory),
        "snakemake": order.snakemake,
        "stop": asdict(order.graces),
        "env": _environment(order),
        "steps": [asdict(step) for step in steps],
    }


def _base(order: Order) -> list[str]:
    argv = ["--profile", str(order.profile), "--nocolor"]
    if order.has_config:
        argv += ["--configfile", str(order.attempt.config)]
    options = order.profile_options
    if order.image is not None:
        argv += [f"--{OPTION}", order.image]
    if "cores" not in options and "jobs" not in options:
        argv += ["--cores", "all"]
    return argv


def _loggers(profile: Mapping[str, Any]) -> list[str]:
    """The profile's loggers and ours: an option on the command line replaces the profile's list, it does not add."""
    named = profile.get("logger", [])
    loggers = [named] if isinstance(named, str) else list(named)
    return ["--logger", *loggers, *([] if LOGGER in loggers else [LOGGER])]


def _overrides(overrides: Overrides) -> list[str]:
    argv: list[str] = []
    resources = [
        f"{rule}:{name}={value if is_quantity(value) else repr(value)}"  # Snakemake wants words in quotes
        for rule, values in overrides.set_resources.items()
        for name, value in values.items()
    ]
    if resources:
        argv += ["--set-resources", *resources]
    if overrides.set_threads:
        argv += ["--set-threads", *(f"{rule}={threads}" for rule, threads in overrides.set_threads.items())]
    if overrides.until:
        argv += ["--until", *overrides.until]
    if overrides.forcerun:
        argv += ["--forcerun", *overrides.forcerun]
    if overrides.forceall:
        argv.append("--forceall")
    return argv


def _environment(order: Order) -> dict[str, str]:
    env = {wire.ENV_RUN: order.run_id, wire.ENV_ATTEMPT: order.attempt_id}
    if order.resume_since is not None:
        env[wire.ENV_RESUME] = f"{order.resume_since:.3f}"
    if order.traceparent:
        env["TRACEPARENT"] = order.traceparent
    return env
