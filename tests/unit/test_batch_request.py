"""What a job is submitted with: names, sizes, times, variables and tags."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_snakeway_aws_batch.definitions import Definition, disk_on_fargate
from snakemake_executor_plugin_snakeway_aws_batch.environment import Ways, is_secret, ways
from snakemake_executor_plugin_snakeway_aws_batch.fit import Platform
from snakemake_executor_plugin_snakeway_aws_batch.order import Order, Orders
from snakemake_executor_plugin_snakeway_aws_batch.queues import Queues
from snakemake_executor_plugin_snakeway_aws_batch.request import job_name, timeout_s
from snakemake_executor_plugin_snakeway_aws_batch.settings import ExecutorSettings, checked, pairs

RUN = "0193e7a0-0000-7000-8000-000000000000"


def job(**resources: Any) -> Any:
    return SimpleNamespace(jobid=3, name="align", resources={"_cores": 1, **resources}, is_group=lambda: False)


def order(platform: str = "EC2", command: str = "true", env: Ways | None = None, **resources: Any) -> Order:
    settings = ExecutorSettings(job_queue="main", job_role="role", execution_role="starter", host_attempts=3)
    orders = Orders(settings, "image", RUN, env or Ways({}, {}, {}), {"lab": "x"}, Queues(None, platform))
    return orders.order(job(**resources), command)


def needs(made: Order) -> dict[str, str]:
    return {need["type"]: need["value"] for need in made.request["containerOverrides"]["resourceRequirements"]}


def test_a_jobs_name_begins_with_the_run_and_is_no_other_jobs() -> None:
    names = {job_name(RUN, "a rule: with*signs" + "x" * 200) for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(RUN + r"-a_rule_with_signsx+-[0-9a-f]{12}", name) and len(name) <= 128 for name in names)


@pytest.mark.parametrize(
    ("runtime", "setting", "seconds"),
    [(None, None, None), (None, 900, 900), (30, None, 1800), (30, 900, 1800), (0.5, None, 60), (0, 900, 900)],
)
def test_a_job_has_the_time_it_asks_for(runtime: float | None, setting: int | None, seconds: int | None) -> None:
    assert timeout_s(runtime, setting) == seconds


def test_an_order_has_what_the_job_asks_for() -> None:
    made = order(mem_mb=6000, runtime=90, _cores=3, gpu=2)
    assert needs(made) == {"VCPU": "3", "MEMORY": "6000", "GPU": "2"}
    assert made.request["timeout"] == {"attemptDurationSeconds": 5400}
    assert made.request["jobQueue"] == "main"
    assert made.request["tags"] == {"lab": "x", "snakeway-run": RUN, "snakeway-rule": "align"}
    assert made.request["propagateTags"] is True
    strategy = made.request["retryStrategy"]
    assert strategy["attempts"] == 3
    assert strategy["evaluateOnExit"][0] == {"onStatusReason": "Host EC2*", "action": "RETRY"}
    assert strategy["evaluateOnExit"][-1] == {"onReason": "*", "action": "EXIT"}


def test_a_rule_has_its_own_queue_image_and_role() -> None:
    made = order(aws_batch_queue="big", aws_batch_image="other", aws_batch_job_role="mine")
    assert made.request["jobQueue"] == "big"
    assert (made.definition.image, made.definition.job_role) == ("other", "mine")


def test_jobs_that_differ_in_size_and_command_share_a_definition() -> None:
    assert order(mem_mb=100, command="a").definition == order(mem_mb=900, command="b", runtime=3).definition
    assert order(aws_batch_image="other").definition != order().definition


def test_a_long_command_is_in_a_definition_of_its_own() -> None:
    made = order(command="echo " + "x" * 9000)
    assert "command" not in made.request["containerOverrides"]
    assert made.definition.properties()["command"][-1].startswith("echo x")
    assert order(command="echo").request["containerOverrides"]["command"] == ["/bin/bash", "-c", "echo"]


def test_fargate_has_no_privileges_and_steps_of_disk() -> None:
    properties = order("FARGATE", mem_mb=6000, disk_mb=50_000).definition.properties()
    assert "privileged" not in properties
    assert properties["ephemeralStorage"] == {"sizeInGiB": 50}
    assert "ephemeralStorage" not in order("FARGATE", disk_mb=20_000).definition.properties()
    assert [disk_on_fargate(mb) for mb in (0, 21_475, 30_000, 10**9)] == [20, 30, 30, 200]


def test_what_cannot_be_had_is_refused_with_the_rule_and_what_would_fit() -> None:
    with pytest.raises(WorkflowError, match=r"rule align asks for 1 cores, 200000 MiB.*16 vCPU and 122880 MiB"):
        order("FARGATE", mem_mb=200_000)


VARIABLES = {"AWS_SECRET_ACCESS_KEY": "s3cret", "LANG": "C"}


def test_a_secret_is_not_passed_on_unless_somebody_insists() -> None:
    with pytest.raises(WorkflowError, match="AWS_SECRET_ACCESS_KEY would be passed on"):
        ways(VARIABLES, {}, pass_secrets=False)
    assert ways(VARIABLES, {}, pass_secrets=True) == Ways({"LANG": "C"}, {}, {"AWS_SECRET_ACCESS_KEY": "s3cret"})
    kept = ways(VARIABLES, {"AWS_SECRET_ACCESS_KEY": "arn"}, pass_secrets=True)
    assert kept == Ways({"LANG": "C"}, {"AWS_SECRET_ACCESS_KEY": "arn"}, {})


SECRET = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "GITHUB_TOKEN",
    "PGPASSWORD",
    "DB_PASSWD",
    "GPG_PASSPHRASE",
    "OPENAI_APIKEY",
    "NCBI_API_KEY",
    "deploy_key",
    "SSH_PRIVATE_PEM",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "DB_PWD",
    "SMTP_PASS",
    "GITLAB_PAT",
    "PROXY_AUTH",
]
PLAIN = [
    "LANG",
    "PATH",
    "HOME",
    "AWS_DEFAULT_REGION",
    "KEYBOARD",
    "MONKEYS",
    "COMPASS",
    "PATHS",
    "AUTHOR",
    "OMP_NUM_THREADS",
    "SNAKEMAKE_S3_PREFIX",
]


@pytest.mark.parametrize("name", [*SECRET, *PLAIN])
def test_what_is_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret(name) is (name in SECRET)


def test_a_passed_secret_is_in_the_jobs_overrides_only() -> None:
    made = order(env=ways(VARIABLES, {"TOKEN": "arn"}, pass_secrets=True))
    assert made.request["containerOverrides"]["environment"] == [{"name": "AWS_SECRET_ACCESS_KEY", "value": "s3cret"}]
    properties = made.definition.properties()
    assert "s3cret" not in str(properties)
    assert properties["secrets"] == [{"name": "TOKEN", "valueFrom": "arn"}]
    assert properties["environment"] == [{"name": "LANG", "value": "C"}]


def test_a_definition_is_of_its_platform() -> None:
    assert Definition("image", Platform.EC2, privileged=True).properties()["privileged"] is True


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"job_queue": "$QUEUE"}, "job-queue is \\$QUEUE, but no such environment variable is set"),
        ({"job_queue": None}, "No job queue is named"),
        ({"host_attempts": 11}, "allows 1 to 10"),
        ({"task_timeout": 5}, "60 seconds or more"),
        ({"secrets": "A=arn"}, "needs --snakeway-aws-batch-execution-role"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkflowError, match=said):
        checked(ExecutorSettings(**{"job_queue": "main", **changed}), "image")
    with pytest.raises(WorkflowError, match="--container-image is \\$IMAGE"):
        checked(ExecutorSettings(job_queue="main"), "$IMAGE")


def test_pairs_are_read() -> None:
    assert pairs("a=1, b=arn:x=y", "tags") == {"a": "1", "b": "arn:x=y"}
    assert pairs(None, "tags") == {}
    with pytest.raises(WorkflowError, match="--snakeway-aws-batch-tags: 'b' is not"):
        pairs("a=1,b", "tags")
