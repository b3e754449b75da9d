"""Job definitions: one for all jobs of a run that differ in their command and size only, and none when the run is over.

The plugin registers one for each job, with the command in it, and AWS allows only so many registrations in a second.
Here the command and the size are overrides of SubmitJob; a command that is too long for one has its own definition.
A definition's name is made of the run and of what is in it, so that of a killed attempt is found again by the next.
"""

import hashlib
import json
import logging
import threading
from dataclasses import dataclass
from typing import Any

from snakemake_executor_plugin_snakeway_aws_batch.fit import Platform
from snakemake_executor_plugin_snakeway_aws_batch.patience import FAULTS, words

TAG_RUN = "snakeway-run"
_FARGATE_DISK_GIB = 20  # what a task on Fargate has without being asked
_FARGATE_DISK_STEP_GIB = 10  # so that jobs of nearly the same size share a definition
_FARGATE_MOST_DISK_GIB = 200
_PLACEHOLDER = {Platform.EC2: ("1", "1024"), Platform.FARGATE: ("1", "2048")}  # each job overrides it


@dataclass(frozen=True)
class Definition:
    """What jobs of one definition have in common."""

    image: str
    platform: Platform
    job_role: str | None = None
    execution_role: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    privileged: bool = False
    public_ip: bool = False
    log_group: str | None = None
    disk_mb: int = 0  # on Fargate; EC2 machines have the disk that their launch template gives them
    command: tuple[str, ...] = ()  # empty: each job brings its own

    def properties(self) -> dict[str, Any]:
        """Return the containerProperties."""
        vcpus, memory = _PLACEHOLDER[self.platform]
        found: dict[str, Any] = {
            "image": self.image,
            "command": list(self.command),
            "environment": [{"name": name, "value": value} for name, value in self.environment],
            "resourceRequirements": [{"type": "VCPU", "value": vcpus}, {"type": "MEMORY", "value": memory}],
        }
        if self.job_role:
            found["jobRoleArn"] = self.job_role
        if self.execution_role:
            found["executionRoleArn"] = self.execution_role
        if self.secrets:
            found["secrets"] = [{"name": name, "valueFrom": place} for name, place in self.secrets]
        if self.log_group:
            found["logConfiguration"] = {"logDriver": "awslogs", "options": {"awslogs-group": self.log_group}}
        if self.platform is Platform.EC2:
            found["privileged"] = self.privileged
        else:
            found["fargatePlatformConfiguration"] = {"platformVersion": "LATEST"}
            found["networkConfiguration"] = {"assignPublicIp": "ENABLED" if self.public_ip else "DISABLED"}
            disk_gib = disk_on_fargate(self.disk_mb)
            if disk_gib > _FARGATE_DISK_GIB:
                found["ephemeralStorage"] = {"sizeInGiB": disk_gib}
        return found


def disk_on_fargate(asked_mb: int) -> int:
    """Return the disk in GiB that a task is asked for, in steps; never more than there can be."""
    gib = -(-asked_mb * 1000**2 // 1024**3)
    stepped = -(-gib // _FARGATE_DISK_STEP_GIB) * _FARGATE_DISK_STEP_GIB
    return min(_FARGATE_MOST_DISK_GIB, max(_FARGATE_DISK_GIB, stepped))


class Definitions:
    """The definitions of one run. May be used by many threads."""

    def __init__(self, client: Any, run: str, tags: dict[str, str], logger: logging.Logger) -> None:
        self._client = client
        self._run = run
        self._tags = {**tags, TAG_RUN: run}
        self._logger = logger
        self._lock = threading.Lock()
        self._known: dict[Definition, str] = {}

    def arn(self, definition: Definition) -> str:
        """Return the definition's ARN; registers it on first use. Raises what the client raises."""
        with self._lock:
            if definition not in self._known:
                name = self._name(definition)
                found = self._active(name)
                self._known[definition] = found[0] if found else self._register(name, definition)
            return self._known[definition]

    def remove(self) -> None:
        """Have AWS forget the definitions; jobs that run keep theirs. What cannot be removed is told, and harmless."""
        with self._lock:
            known, self._known = self._known, {}
        for definition in known:
            try:
                for arn in self._active(self._name(definition)):
                    self._client.deregister_job_definition(jobDefinition=arn)
            except FAULTS as error:
                self._logger.info(f"A job definition of this run was left behind: {words(error)}")

    def _active(self, name: str) -> list[str]:
        answer = self._client.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")
        return [str(found["jobDefinitionArn"]) for found in answer["jobDefinitions"]]

    def _register(self, name: str, definition: Definition) -> str:
        answer = self._client.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties=definition.properties(),
            platformCapabilities=[str(definition.platform)],
            propagateTags=True,
            tags=self._tags,
        )
        return str(answer["jobDefinitionArn"])

    def _name(self, definition: Definition) -> str:
        content = json.dumps([definition.properties(), definition.platform], sort_keys=True)
        return f"snakeway-{self._run}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
