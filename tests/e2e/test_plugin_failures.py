"""What the logger plugin records of jobs that fail, and of jobs that run elsewhere."""

import os
import signal
from pathlib import Path

import pytest

from snakeway.wire import Event
from tests.e2e.plugin_runs import FAILING, PLAIN_ENVIRONMENT, Finished, snakemake

pytestmark = pytest.mark.xdist_group("plugin failures")  # so that the runs are made once


@pytest.fixture(scope="module")
def failing_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return snakemake(tmp_path_factory.mktemp("failing"), FAILING, "--keep-going", "--latency-wait", "0")


def failures(run: Finished, rule: str) -> list[Event]:
    return [event for event in run.events("job_failed") if event["rule"] == rule]


def test_each_try_of_a_job_fails_by_itself(failing_run: Finished) -> None:
    assert failing_run.code == 1
    tries = [event["try"] for event in failing_run.events("job") if event["rule"] == "exit"]
    assert tries == [failure["try"] for failure in failures(failing_run, "exit")] == [1, 2]
    for failure in failures(failing_run, "exit"):
        assert (failure["exit_code"], failure["signal"]) == (7, None)
        assert "returned non-zero exit status 7" in failure["message"]
        assert (failure["log"], failure["log_tail"]) == ("exit.log", "boom")


@pytest.mark.parametrize(("rule", "number"), [("killed", signal.SIGKILL), ("child", signal.SIGTERM)])
def test_a_signal_is_told_in_one_way(failing_run: Finished, rule: str, number: signal.Signals) -> None:
    (failure,) = failures(failing_run, rule)
    assert (failure["exit_code"], failure["signal"]) == (128 + number, number)


def test_a_failed_run_directive_says_where_the_reason_is(failing_run: Finished) -> None:
    (failure,) = failures(failing_run, "python")
    assert failure["exit_code"] == 1
    assert "Snakemake's output" in failure["message"]
    assert "not this time" in failing_run.output


def test_jobs_that_leave_wrong_outputs_fail(failing_run: Finished) -> None:
    missing = failures(failing_run, "missing")
    assert [failure["try"] for failure in missing] == [1, 2]
    assert "missing.txt" in missing[0]["message"]
    (wrong,) = failures(failing_run, "wrong")
    assert "unexpected empty output" in wrong["message"]


def test_the_reason_of_a_job_is_not_also_an_error_of_the_run(failing_run: Finished) -> None:
    messages = [event["message"] for event in failing_run.events("error")]
    assert messages == ["WorkflowError:\nAt least one job did not complete successfully."]


TRIES_THAT_LOG = """
rule all:
    input: "fails.txt", "fails_at_once.txt", "makes_nothing.txt", "says_nothing.txt"
rule fails:
    output: "fails.txt"
    log: "fails.log"
    retries: 1
    shell: "if test -e tried; then echo second; fi > {log}; touch tried; exit 1"
rule fails_at_once:
    output: "fails_at_once.txt"
    log: "fails_at_once.log"
    retries: 1
    shell: "if test -e tried_at_once; then echo second > {log}; fi; touch tried_at_once; exit 1"
rule makes_nothing:
    output: "makes_nothing.txt"
    log: "makes_nothing.log"
    retries: 1
    shell: "if test -e made; then echo second; else echo first; fi > {log}; touch made"
rule says_nothing:
    output: "says_nothing.txt"
    log: "says_nothing.log"
    retries: 1
    shell: "if test -e said; then echo second > {log}; fi; touch said"
"""


def test_each_try_has_what_it_logged_itself(tmp_path: Path) -> None:
    run = snakemake(tmp_path, TRIES_THAT_LOG, "--keep-going", "--latency-wait", "0")
    rules = ("fails", "fails_at_once", "makes_nothing", "says_nothing")
    logged = {rule: [(failure["log"], failure["log_tail"]) for failure in failures(run, rule)] for rule in rules}
    first = {"makes_nothing": "first"}
    assert logged == {rule: [(f"{rule}.log", first.get(rule, "")), (f"{rule}.log", "second")] for rule in rules}


IN_THE_SHADOW = """
rule all:
    input: "fails.txt", "makes_nothing.txt"
rule fails:
    output: "fails.txt"
    log: "logs/fails.log"
    shadow: "minimal"
    shell: "echo why > {log}; exit 1"
rule makes_nothing:
    output: "makes_nothing.txt"
    log: "logs/makes_nothing.log"
    shadow: "minimal"
    shell: "echo done > {log}"
"""


@pytest.mark.parametrize("by", ["processes", "threads"])  # Snakemake uses threads beside a cluster
def test_the_log_of_a_job_in_a_shadow_directory_is_found(tmp_path: Path, by: str) -> None:
    threads = ["--force-use-threads"] if by == "threads" else []
    run = snakemake(tmp_path, IN_THE_SHADOW, "--cores", "1", "--keep-going", "--latency-wait", "0", *threads)
    logged = {failure["rule"]: (failure["log"], failure["log_tail"]) for failure in run.events("job_failed")}
    assert logged == {"fails": ("logs/fails.log", "why"), "makes_nothing": ("logs/makes_nothing.log", "done")}


PIPES = """
rule all:
    input: "good.txt", "bad.txt"
rule good_source:
    output: pipe("good.fifo")
    shell: "echo 1 > {output}"
rule good_sink:
    input: "good.fifo"
    output: "good.txt"
    shell: "cat {input} > {output}"
rule bad_source:
    output: pipe("bad.fifo")
    shell: "exec 3> {output}; exit 5"
rule bad_sink:
    input: "bad.fifo"
    output: "bad.txt"
    shell: "cat {input} > {output}; sleep 60"
"""


def test_of_a_group_that_fails_only_the_guilty_job_has_the_exit_code(tmp_path: Path) -> None:
    run = snakemake(tmp_path, PIPES, "--keep-going", "--cores", "4")
    assert run.code == 1
    rules = {job["job"]: job["rule"] for job in run.events("job")}
    assert {rules[event["job"]] for event in run.events("job_finished")} == {"good_source", "good_sink"}
    codes = {event["rule"]: event["exit_code"] for event in run.events("job_failed")}
    assert codes == {"bad_source": 5, "bad_sink": None}
    assert all("exit status 5" in event["message"] for event in run.events("job_failed"))
    assert {tuple(job["output"]) for job in run.events("job")} >= {("good.fifo",), ("bad.fifo",)}


EXECUTOR = '''
"""An executor plugin that is remote to Snakemake, and runs its jobs in processes here."""
import subprocess
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False)

class Executor(RemoteExecutor):
    def run_job(self, job):
        process = subprocess.Popen(self.format_job_exec(job), shell=True)
        info = SubmittedJobInfo(job, external_jobid=f"cluster-{process.pid}", aux={"process": process})
        self.report_job_submission(info)

    async def check_active_jobs(self, active_jobs):
        for info in active_jobs:
            code = info.aux["process"].poll()
            if code is None:
                yield info
            elif code == 0:
                self.report_job_success(info)
            else:
                self.report_job_error(info, msg="It failed over there. ", aux_logs=["over-there.log"])

    def cancel_jobs(self, active_jobs):
        for info in active_jobs:
            info.aux["process"].kill()
'''

ELSEWHERE = """
localrules: all
rule all:
    input: "one.txt", "pair.txt", "fine.txt"
rule fine:
    output: "fine.txt"
    shell: "touch {output}; python3 await_start.py"
rule one:
    output: "one.txt"
    shell: "exit 3"
rule first:
    output: temp("first.txt")
    log: "first.log"
    group: "pair"
    shell: "echo first > {log}; touch {output}"
rule second:
    input: "first.txt"
    output: "pair.txt"
    log: "second.log"
    group: "pair"
    shell: ": > {log}; exit 4"
"""

# The plugin looks the less often, the longer a job has not started: the job ends when its start was seen.
AWAIT_START = """
import json, time
from pathlib import Path

def seen():
    lines = [line for file in Path(".snakeway/attempts").glob("*/events.ndjson") for line in file.open()]
    events = [json.loads(line) for line in lines if line.endswith("\\n")]
    fine = {event["job"] for event in events if event["type"] == "job" and event["rule"] == "fine"}
    return any(event["type"] == "job_started" and event["job"] in fine for event in events)

Path("began.txt").write_text(str(time.time()))
deadline = time.monotonic() + 120
while not seen() and time.monotonic() < deadline:
    time.sleep(0.1)
time.sleep(1)
"""


@pytest.fixture(scope="module")
def run_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    directory = tmp_path_factory.mktemp("elsewhere")
    package = directory / "plugins" / "snakemake_executor_plugin_elsewhere"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(EXECUTOR)
    (directory / "over-there.log").write_text("a log of the scheduler\n")
    (directory / "await_start.py").write_text(AWAIT_START)
    path = os.pathsep.join(filter(None, [str(package.parent), PLAIN_ENVIRONMENT.get("PYTHONPATH")]))
    options = ["--executor", "elsewhere", "--jobs", "3", "--keep-going", "--seconds-between-status-checks", "1"]
    return snakemake(directory, ELSEWHERE, *options, PYTHONPATH=path)


def test_a_job_elsewhere_is_seen_to_wait_and_to_start(run_elsewhere: Finished) -> None:
    (job,) = [job for job in run_elsewhere.events("job") if job["rule"] == "fine"]
    told = {event["type"]: event for event in run_elsewhere.events() if event.get("job") == job["job"]}
    assert list(told) == ["job", "job_submitted", "job_started", "job_finished"]
    assert not job["local"]
    assert told["job_submitted"]["external_id"].startswith("cluster-")
    # It starts when its own snakemake does: long after its submission, and before its command.
    began = float((run_elsewhere.directory / "began.txt").read_text())
    assert job["t"] + 0.5 < told["job_started"]["started_at"] <= began < told["job_finished"]["t"] - 1
    assert told["job_finished"]["started_at"] == told["job_started"]["started_at"]


def test_a_job_that_failed_elsewhere_carries_what_the_scheduler_knows(run_elsewhere: Finished) -> None:
    (failure,) = failures(run_elsewhere, "one")
    assert failure["external_id"].startswith("cluster-")
    assert failure["message"].startswith("It failed over there.")
    assert (failure["log"], failure["log_tail"]) == ("over-there.log", "a log of the scheduler")
    assert failure["exit_code"] is None


def test_a_failed_group_elsewhere_fails_each_of_its_jobs(run_elsewhere: Finished) -> None:
    pair = failures(run_elsewhere, "first") + failures(run_elsewhere, "second")
    assert len(pair) == 2
    (external_id,) = {failure["external_id"] for failure in pair}
    assert external_id.startswith("cluster-")
    logged = [(failure["log"], failure["log_tail"]) for failure in pair]
    assert logged == [("first.log", "first"), ("over-there.log", "a log of the scheduler")]
    assert {failure["message"][:26] for failure in pair} == {"Its group of jobs failed; "}
