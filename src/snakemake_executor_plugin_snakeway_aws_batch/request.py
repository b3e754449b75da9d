"""The request to run one job. Pure, but for the random end of its name."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from snakemake_executor_plugin_snakeway_aws_batch.definitions import TAG_RUN
from snakemake_executor_plugin_snakeway_aws_batch.fit import Size

LEAST_TIMEOUT_S = 60  # what AWS Batch allows
# ECS refuses overrides of more than 8192 characters, and the job then fails without having started; some are AWS's own.
LONGEST_OVERRIDES = 7000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_RULE_CHARACTERS = 70  # of the 128 that a name may have
_TAG_CHARACTERS = 256
# How AWS words it when the machine is taken away: EC2's spot market, Fargate's.
_MACHINE_GONE = ("Host EC2*", "Your Spot Task was interrupted*")


def job_name(run: str, rule: str) -> str:
    """Return a name that no other job has; it begins with the run's id, by which all jobs of a run are found."""
    return f"{run}-{_NOT_IN_NAMES.sub('_', rule)[:_RULE_CHARACTERS]}-{uuid.uuid4().hex[:12]}"


def timeout_s(runtime_min: float | None, otherwise_s: int | None) -> int | None:
    """Return after how many seconds the job is ended: what its ``runtime`` says, else the setting; None: never."""
    if runtime_min:
        return max(LEAST_TIMEOUT_S, round(runtime_min * 60))
    return otherwise_s


def overrides(size: Size, command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the containerOverrides."""
    needs = {"VCPU": size.vcpus, "MEMORY": size.mem_mib, **({"GPU": size.gpus} if size.gpus else {})}
    found: dict[str, Any] = {
        "resourceRequirements": [{"type": type_, "value": str(value)} for type_, value in needs.items()]
    }
    if command:
        found["command"] = command
    if environment:
        found["environment"] = [{"name": name, "value": value} for name, value in environment.items()]
    return found


def too_long(command: list[str], environment: Mapping[str, str]) -> bool:
    """Whether AWS might refuse these as overrides."""
    escapes = sum(part.count('"') + part.count("\\") + part.count("\n") for part in command)
    return escapes + sum(map(len, [*command, *environment, *environment.values()])) > LONGEST_OVERRIDES


def request(
    *,
    name: str,
    queue: str,
    overrides: dict[str, Any],
    timeout_s: int | None,
    host_attempts: int,
    tags: Mapping[str, str],
    run: str,
    rule: str,
) -> dict[str, Any]:
    """Return the arguments of SubmitJob, without the job definition."""
    found: dict[str, Any] = {
        "jobName": name,
        "jobQueue": queue,
        "containerOverrides": overrides,
        "propagateTags": True,
        "tags": {**tags, TAG_RUN: run, "snakeway-rule": rule[:_TAG_CHARACTERS]},
    }
    if timeout_s is not None:
        found["timeout"] = {"attemptDurationSeconds": timeout_s}
    if host_attempts > 1:
        gone = [{"onStatusReason": reason, "action": "RETRY"} for reason in _MACHINE_GONE]
        found["retryStrategy"] = {
            "attempts": host_attempts,
            "evaluateOnExit": [*gone, {"onReason": "*", "action": "EXIT"}],
        }
    return found
