"""Golden: what was asked for becomes exactly these snakemake calls."""

from pathlib import Path
from typing import Any

import pytest

from snakeway.directory import AttemptDirectory
from snakeway.model.attempt import Overrides
from snakeway.supervisor.command import Order, build
from snakeway.supervisor.stop import Graces

RUN = Path("/data/runs/R")
ATTEMPT = AttemptDirectory(RUN / ".snakeway/attempts/2")
BASE = ["--profile", "/profiles/local", "--nocolor"]
LOGGER = ["--rerun-incomplete", "--logger", "snakeway"]


def order(**more: Any) -> Order:
    values: dict[str, Any] = {
        "run_id": "R",
        "attempt_id": "A",
        "number": 2,
        "directory": RUN,
        "attempt": ATTEMPT,
        "profile": Path("/profiles/local"),
        "profile_options": {"cores": "all"},
        "overrides": Overrides(),
        "has_config": False,
        "wants_plan": False,
        "dry_run": False,
        "unlock": False,
        "graces": Graces(15, 5),
    }
    return Order(**(values | more))


def calls(**more: Any) -> dict[str, list[str]]:
    return {step["name"]: step["argv"] for step in build(order(**more))["steps"]}


def test_a_plain_attempt_is_one_call() -> None:
    assert calls() == {"run": [*BASE, *LOGGER]}


def test_config_is_a_file() -> None:
    assert calls(has_config=True)["run"] == [*BASE, "--configfile", f"{ATTEMPT.path}/config.yaml", *LOGGER]


def test_everything_overridden() -> None:
    overrides = Overrides(
        set_resources={"align": {"mem_mb": 8000, "runtime": "2h"}, "sort": {"mem_mb": 100}},
        set_threads={"align": 4},
        targets=["results/a.txt", "all"],
        until=["align", "sort"],
        forcerun=["align"],
        forceall=True,
    )
    assert calls(overrides=overrides)["run"] == [
        *BASE,
        *LOGGER,
        *["--set-resources", "align:mem_mb=8000", "align:runtime=2h", "sort:mem_mb=100"],
        *["--set-threads", "align=4"],
        *["--until", "align", "sort"],
        *["--forcerun", "align"],
        "--forceall",
        *["--", "results/a.txt", "all"],
    ]


def test_words_are_quoted_for_snakemake_which_would_evaluate_them() -> None:
    overrides = Overrides(set_resources={"align": {"slurm_partition": "long", "mem_mb": 8000, "disk": "4GB"}})
    overrides.check()
    argv = calls(overrides=overrides)["run"]
    assert argv[-3:] == ["align:slurm_partition='long'", "align:mem_mb=8000", "align:disk=4GB"]


def test_an_unclean_directory_is_unlocked_first_and_the_plan_comes_before_the_run() -> None:
    steps = calls(unlock=True, wants_plan=True, overrides=Overrides(targets=["x"]))
    assert list(steps) == ["unlock", "plan", "run"]
    assert steps["unlock"] == [*BASE, "--unlock"]
    assert steps["plan"] == [*BASE, *LOGGER, "--dry-run", "--", "x"]


def test_a_dry_run_runs_nothing() -> None:
    assert list(calls(dry_run=True)) == ["plan"]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"cores": 1, "logger": ["snakeway"]}, ["--logger", "snakeway"]),
        ({"cores": 1, "logger": "other"}, ["--logger", "other", "snakeway"]),
        ({"cores": 1, "logger": ["a", "b"]}, ["--logger", "a", "b", "snakeway"]),
    ],
)
def test_the_loggers_of_the_profile_stay(profile: dict[str, Any], expected: list[str]) -> None:
    argv = calls(profile_options=profile)["run"]
    assert argv[argv.index("--logger") :] == expected


def test_a_profile_that_names_no_cores_gets_all() -> None:
    assert calls(profile_options={})["run"][:5] == [*BASE, "--cores", "all"]
    assert "--cores" not in calls(profile_options={"jobs": 10})["run"]


def test_the_environment_tells_where_events_go() -> None:
    command = build(order(wants_plan=True, traceparent="00-1-2-01"))
    assert command["env"] == {"SNAKEWAY_RUN_ID": "R", "SNAKEWAY_ATTEMPT_ID": "A", "TRACEPARENT": "00-1-2-01"}
    plan, run = command["steps"]
    assert plan["env"] == {"SNAKEWAY_EVENTS_FILE": f"{ATTEMPT.path}/plan.ndjson", "OTEL_SDK_DISABLED": "true"}
    assert run["env"] == {"SNAKEWAY_EVENTS_FILE": f"{ATTEMPT.path}/events.ndjson"}
