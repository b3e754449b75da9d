"""The logger plugin inside a real snakemake: what it records of runs that go well, fail, nest, stop or are in the way.

Each test reads the events as the intake does. A snakemake start takes some seconds, so tests that look at the same run
share it.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snakemake_logger_plugin_snakeway.identity import Identity
from snakeway import ids
from snakeway.telemetry import SpanRef, attempt_ref, names, run_ref
from snakeway.wire import ENV_ATTEMPT, ENV_EVENTS, ENV_RUN, Event, read_events
from tests.support.otlp import Receiver, otlp_receiver
from tests.support.waiting import wait_until

RUN, ATTEMPT = ids.new_id(), ids.new_id()
PLAIN_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("SNAKEWAY_", "OTEL_", "SNAKEMAKE_")) and name not in ("TRACEPARENT", "PYTHONDONTWRITEBYTECODE")
}

GOOD = """
rule all:
    input: "out/sum.txt"
rule part:
    output: "out/{name}-{n,[0-9]+}.txt", directory("out/{name}-{n}-more")
    threads: 2
    resources: mem_mb=10, kind="big"
    shell: "echo {wildcards.n} > {output[0]}; mkdir {output[1]}"
rule sum:
    input: expand("out/a-{n}.txt", n=range(3))
    output: "out/sum.txt"
    log: "logs/sum.log"
    shell: "cat {input} > {output} 2> {log}"
"""


@dataclass
class Finished:
    """A snakemake process that has ended, and where it worked."""

    code: int
    output: str
    directory: Path

    def event_files(self) -> list[Path]:
        """The events files of runs by hand below the directory."""
        return sorted(self.directory.glob("**/.snakeway/attempts/*/events.ndjson"))

    def events(self, type_: str | None = None) -> list[Event]:
        """The events of the only attempt by hand."""
        (file,) = self.event_files()
        return events_in(file, type_)


def events_in(file: Path, type_: str | None = None) -> list[Event]:
    return [event for event in read_events(file, 0, 1 << 30)[0] if type_ in (None, event["type"])]


def command(*options: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "snakemake", "--logger", "snakeway", *options]


def snakemake(directory: Path, snakefile: str, *options: str | Path, **environment: str) -> Finished:
    """Run snakemake with the plugin, by hand unless ``environment`` says otherwise."""
    directory.mkdir(exist_ok=True, parents=True)
    (directory / "Snakefile").write_text(snakefile)
    done = subprocess.run(
        command("--cores", "2", "--scheduler", "greedy", *options),
        cwd=directory,
        env=PLAIN_ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Finished(done.returncode, done.stdout, directory)


def started_by_snakeway(events: Path, traceparent: str = "") -> dict[str, str]:
    return {ENV_RUN: RUN, ENV_ATTEMPT: ATTEMPT, ENV_EVENTS: str(events), "TRACEPARENT": traceparent}


@pytest.fixture(scope="module")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return snakemake(tmp_path_factory.mktemp("good"), GOOD)


def test_a_run_by_hand_is_recorded_in_its_directory(good_run: Finished) -> None:
    assert good_run.code == 0, good_run.output
    events = good_run.events()
    first, last = events[0], events[-1]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert [event["t"] for event in events] == sorted(event["t"] for event in events)
    assert (first["type"], first["v"], first["dry_run"], first["outside"]) == ("attempt_started", 1, False, True)
    assert first["directory"] == str(good_run.directory)
    assert first["snakefile"] == str(good_run.directory / "Snakefile")
    assert "--logger snakeway" in first["command"]
    assert ids.is_id(first["run_id"])
    assert first["attempt_id"] == good_run.event_files()[0].parent.name
    assert (last["type"], last["lost"]) == ("attempt_ended", 0)


def test_the_plan_is_recorded(good_run: Finished) -> None:
    (graph,), (stats,) = good_run.events("rulegraph"), good_run.events("stats")
    rules = [node["rule"] for node in graph["nodes"]]
    links = {(rules[link["source"]], rules[link["target"]]) for link in graph["links"]}
    assert links == {("part", "sum"), ("sum", "all")}
    assert (stats["jobs"], stats["total"]) == ({"part": 3, "sum": 1, "all": 1}, 5)


def test_jobs_are_recorded_with_all_that_a_person_asks_for(good_run: Finished) -> None:
    jobs = good_run.events("job")
    part = next(job for job in jobs if job["rule"] == "part" and job["wildcards"]["n"] == "1")
    assert part["wildcards"] == {"name": "a", "n": "1"}
    assert part["output"] == ["out/a-1.txt", "out/a-1-more"]
    assert part["threads"] == 2
    assert (part["resources"]["mem_mb"], part["resources"]["kind"]) == (10, "big")
    assert not {"_cores", "_nodes"} & set(part["resources"])
    assert part["shell"].startswith("echo 1 > out/a-1.txt")
    assert part["reason"].startswith("Missing output files: out/a-1.txt")
    assert (part["local"], part["checkpoint"], part["try"]) == (True, False, 1)
    (total,) = [job for job in jobs if job["rule"] == "sum"]
    assert total["input"] == ["out/a-0.txt", "out/a-1.txt", "out/a-2.txt"]
    assert total["log"] == ["logs/sum.log"]


def test_jobs_end_with_their_real_times(good_run: Finished) -> None:
    ends = {event["job"]: event for event in good_run.events("job_finished")}
    for job in good_run.events("job"):
        end = ends.pop(job["job"])
        if job["output"]:
            assert job["t"] - 1 < end["started_at"] <= end["ended_at"] <= end["t"]
        else:
            assert "started_at" not in end
    assert not ends
    assert (good_run.events("progress")[-1]["done"], good_run.events("progress")[-1]["total"]) == (5, 5)


def test_a_second_attempt_by_hand_belongs_to_the_same_run(good_run: Finished, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    first = snakemake(directory, GOOD, "--until", "part")
    second = snakemake(directory, GOOD)
    assert (first.code, second.code) == (0, 0)
    beginnings = [events_in(file, "attempt_started")[0] for file in second.event_files()]
    assert len({event["attempt_id"] for event in beginnings}) == 2
    (run_id,) = {event["run_id"] for event in beginnings}
    assert json.loads((directory / ".snakeway" / "run.json").read_text()) == {"run_id": run_id}
    assert run_id != good_run.events()[0]["run_id"]


def test_of_processes_that_are_first_in_a_directory_one_names_the_run(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        settled = list(pool.map(lambda _: Identity.from_environment({}).settle(tmp_path)[0], range(64)))
    assert len(set(settled)) == 1
    assert [path.name for path in (tmp_path / ".snakeway").iterdir()] == ["run.json"]


FAILING = """
rule all:
    input: expand("{kind}.txt", kind=["exit", "killed", "child", "python", "missing", "wrong"])
rule exit:
    output: "exit.txt"
    log: "empty.log", "exit.log"
    retries: 1
    shell: "touch {log[0]}; echo boom > {log[1]}; exit 7"
rule killed:
    output: "killed.txt"
    shell: "kill -9 $$"
rule child:
    output: "child.txt"
    shell: "bash -c 'kill -TERM $$'"
rule python:
    output: "python.txt"
    run: raise ValueError("not this time")
rule missing:
    output: "missing.txt"
    retries: 1
    shell: "true"
rule wrong:
    output: ensure("wrong.txt", non_empty=True)
    shell: "touch {output}"
"""


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


def test_a_broken_snakefile_is_told_to_snakeway(tmp_path: Path) -> None:
    file = tmp_path / "events"
    run = snakemake(tmp_path / "run", "rule all:\n    input: (\n", **started_by_snakeway(file))
    assert run.code == 1
    first, error, last = events_in(file)
    assert (first["type"], first["run_id"], first["attempt_id"]) == ("attempt_started", RUN, ATTEMPT)
    assert first["directory"] == str(tmp_path / "run")
    assert (error["type"], error["exception"]) == ("error", "SyntaxError")
    assert last["type"] == "attempt_ended"
    assert run.event_files() == []


@pytest.mark.parametrize(
    "options", [["--lint"], ["--unlock"], ["--summary"], ["--list-rules"], ["--dry-run"], ["--snakefile", "none"]]
)
def test_what_executes_nothing_leaves_nothing_behind(tmp_path: Path, options: list[str]) -> None:
    snakemake(tmp_path, GOOD, *options)
    assert not (tmp_path / ".snakeway").exists()


def test_a_dry_run_for_snakeway_tells_the_jobs(tmp_path: Path) -> None:
    file = tmp_path / "events"
    run = snakemake(tmp_path / "run", GOOD, "--dry-run", "--quiet", "all", **started_by_snakeway(file))
    assert run.code == 0
    events = events_in(file)
    assert events[0]["dry_run"]
    assert Counter(event["rule"] for event in events if event["type"] == "job") == {"part": 3, "sum": 1, "all": 1}
    assert not any(event["local"] for event in events if event["type"] == "job")
    assert Counter(event["type"] for event in events)["stats"] == 1
    assert {event["type"] for event in events} == {"attempt_started", "rulegraph", "stats", "job", "attempt_ended"}


@pytest.mark.parametrize("quiet", [["all"], ["progress", "rules"]])
def test_quiet_hides_nothing_from_the_events(tmp_path: Path, good_run: Finished, quiet: list[str]) -> None:
    run = snakemake(tmp_path, GOOD, "--quiet", *quiet)
    assert run.code == 0
    loud, silent = (Counter(event["type"] for event in found.events()) for found in (good_run, run))
    if "progress" in quiet:  # Snakemake then makes no event of an end; metadata shows those of jobs with outputs
        loud -= Counter(progress=loud["progress"], job_finished=1)
    assert silent - Counter(progress=silent["progress"]) == loud - Counter(progress=loud["progress"])


CHECKPOINT = """
rule all:
    input: "all.txt"
checkpoint split:
    output: directory("parts")
    shell: "mkdir parts; touch parts/a parts/b"
rule use:
    input: "parts/{x}"
    output: "used/{x}"
    shell: "touch {output}"
def parts(wildcards):
    return expand("used/{x}", x=glob_wildcards(checkpoints.split.get().output[0] + "/{x,[ab]}").x)
rule gather:
    input: parts
    output: "all.txt"
    shell: "touch {output}"
"""


def test_a_checkpoint_adds_jobs(tmp_path: Path) -> None:
    run = snakemake(tmp_path, CHECKPOINT)
    assert run.code == 0
    jobs = run.events("job")
    assert Counter(job["rule"] for job in jobs) == {"split": 1, "use": 2, "gather": 1, "all": 1}
    assert [job["rule"] for job in jobs if job["checkpoint"]] == ["split"]
    assert {job["try"] for job in jobs} == {1}
    assert len({event["job"] for event in run.events("job_finished")}) == 5
    assert run.events("stats")[0]["total"] == 3
    assert run.events("progress")[-1]["total"] == 5


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
    assert {event["rule"]: event["exit_code"] for event in run.events("job_failed")} == {"bad_source": 5, "bad_sink": None}
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
    shell: "sleep 1; touch {output}"
rule one:
    output: "one.txt"
    shell: "exit 3"
rule first:
    output: temp("first.txt")
    group: "pair"
    shell: "touch {output}"
rule second:
    input: "first.txt"
    output: "pair.txt"
    group: "pair"
    shell: "exit 4"
"""


@pytest.fixture(scope="module")
def run_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    directory = tmp_path_factory.mktemp("elsewhere")
    package = directory / "plugins" / "snakemake_executor_plugin_elsewhere"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(EXECUTOR)
    (directory / "over-there.log").write_text("a log of the scheduler\n")
    path = os.pathsep.join(filter(None, [str(package.parent), PLAIN_ENVIRONMENT.get("PYTHONPATH")]))
    options = ["--executor", "elsewhere", "--jobs", "3", "--keep-going", "--seconds-between-status-checks", "1"]
    return snakemake(directory, ELSEWHERE, *options, PYTHONPATH=path)


def test_a_job_elsewhere_has_the_ends_that_it_had_there(run_elsewhere: Finished) -> None:
    (job,) = [job for job in run_elsewhere.events("job") if job["rule"] == "fine"]
    (end,) = [event for event in run_elsewhere.events("job_finished") if event["job"] == job["job"]]
    assert not job["local"]
    assert end["started_at"] - job["t"] > 0.5, "started when its own snakemake did, not when it was submitted"
    assert 0.9 < end["ended_at"] - end["started_at"] < end["t"] - job["t"]


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
    assert {failure["log_tail"] for failure in pair} == {"a log of the scheduler"}


@pytest.mark.parametrize(("option", "directive"), [(True, False), (False, True)])
def test_events_lie_where_the_workflow_works(tmp_path: Path, option: bool, directive: bool) -> None:
    options = ["--directory", "elsewhere"] if option else []
    run = snakemake(tmp_path, 'workdir: "elsewhere"\n' * directive + GOOD, *options)
    assert run.code == 0
    assert run.events()[0]["directory"] == str(tmp_path / "elsewhere")
    assert run.event_files()[0].is_relative_to(tmp_path / "elsewhere" / ".snakeway")
    assert all("started_at" in end for end in run.events("job_finished")[:-1])


def test_a_relative_events_file_is_relative_to_where_snakemake_was_started(tmp_path: Path) -> None:
    run = snakemake(tmp_path, GOOD, "--directory", "elsewhere", **started_by_snakeway(Path("my-events")))
    assert run.code == 0
    assert events_in(tmp_path / "my-events", "attempt_ended")


def test_long_names_and_dropped_metadata(tmp_path: Path) -> None:
    name = "/".join(["n" * 100] * 4)
    workflow = f'rule all:\n    output: "{name}"\n    shell: "touch {{output}}"\n'
    run = snakemake(tmp_path, workflow)
    assert "started_at" in run.events("job_finished")[0]
    (tmp_path / name).unlink()
    again = snakemake(tmp_path, workflow, "--drop-metadata")
    newest = max(again.event_files(), key=lambda file: file.stat().st_mtime)
    assert "started_at" not in events_in(newest, "job_finished")[0], "that would be the earlier attempt's"


NESTED = """
rule outer:
    output: "outer.txt"
    shell:
        "{PYTHON} -m snakemake --logger snakeway --cores 1 --directory inner"
        " --snakefile inner.smk && touch {{output}}"
""".replace("{PYTHON}", sys.executable).replace("{{", "{").replace("}}", "}")


def test_a_snakemake_inside_a_job_records_a_run_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "events"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "inner.smk").write_text('rule inner:\n    output: "inner.txt"\n    shell: "touch {output}"\n')
    run = snakemake(tmp_path / "run", NESTED, **started_by_snakeway(file))
    assert run.code == 0, run.output
    assert [event["rule"] for event in events_in(file, "job")] == ["outer"]
    assert not events_in(file)[0]["outside"]
    assert [event["rule"] for event in run.events("job")] == ["inner"]
    inner = run.events()[0]
    assert inner["outside"]
    assert inner["run_id"] != RUN
    assert inner["attempt_id"] != ATTEMPT
    assert inner["directory"] == str(tmp_path / "run" / "inner")


def test_an_interrupted_run_still_ends(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text('rule all:\n    output: "x"\n    shell: "sleep 600"\n')
    file = tmp_path / "events"
    process = subprocess.Popen(
        command("--cores", "1"),
        cwd=tmp_path,
        env=PLAIN_ENVIRONMENT | started_by_snakeway(file),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: bool(events_in(file, "job")), timeout_s=60, what="the job's event")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert events_in(file, "attempt_ended")


def events_file_on_a_full_disk(folder: Path) -> dict[str, str]:
    (folder / "full").symlink_to("/dev/full")
    return started_by_snakeway(folder / "full")


def events_file_that_cannot_be_made(_: Path) -> dict[str, str]:
    return started_by_snakeway(Path("/proc/snakeway/events"))


def state_folder_that_cannot_be_made(folder: Path) -> dict[str, str]:
    (folder / ".snakeway").write_text("a file")
    return {}


@pytest.mark.parametrize(
    "obstacle", [events_file_on_a_full_disk, events_file_that_cannot_be_made, state_folder_that_cannot_be_made]
)
def test_a_run_does_not_need_its_events(tmp_path: Path, obstacle: Callable[[Path], dict[str, str]]) -> None:
    run = snakemake(tmp_path, GOOD, **obstacle(tmp_path))
    assert run.code == 0
    assert (tmp_path / "out" / "sum.txt").read_text() == "0\n1\n2\n"
    assert run.output.count("snakeway: cannot write events") == 1
    assert "Traceback" not in run.output


def test_a_bug_of_ours_is_said_once_and_goes_no_further(tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "sitecustomize.py"
    broken.parent.mkdir()
    broken.write_text("import snakemake_logger_plugin_snakeway.jobs as jobs\ndel jobs._files\n")
    path = os.pathsep.join(filter(None, [str(broken.parent), PLAIN_ENVIRONMENT.get("PYTHONPATH")]))
    run = snakemake(tmp_path / "run", GOOD, PYTHONPATH=path)
    assert run.code == 0
    assert run.output.count("snakeway: cannot record: NameError") == 1
    assert "Traceback" not in run.output
    assert run.events("attempt_ended")


def test_snakemake_pays_for_little_when_it_imports_the_plugin() -> None:
    program = (
        "import sys, snakemake_interface_logger_plugins.registry\n"
        "before = set(sys.modules); import snakemake_logger_plugin_snakeway\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=PLAIN_ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["snakemake_logger_plugin_snakeway", "snakeway"]


MANY = """
rule all:
    input: expand("out/{n}", n=range(300))
rule touch:
    output: "out/{n}"
    shell: "touch {output}"
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with otlp_receiver(tmp_path / "receiver") as running:
        yield running


def test_a_run_by_hand_is_one_trace(tmp_path: Path, receiver: Receiver) -> None:
    caller = SpanRef(ids.trace_id(ids.new_id()), 77)
    folder = tmp_path / "demo" / "workflow"
    sent_to = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "TRACEPARENT": caller.traceparent()}
    options = ["--scheduler-subsample", "50", "--quiet", "--directory", tmp_path / "run"]
    run = snakemake(folder, MANY, *options, **sent_to)
    assert run.code == 0
    spans = {span.span_id: span for span in receiver.wait_for(303)}
    assert len(spans) == 303
    (file,) = tmp_path.glob("run/.snakeway/attempts/*/events.ndjson")
    first = events_in(file)[0]
    run_span = spans.pop(f"{run_ref(first['run_id'], caller).span_id:016x}")
    attempt = spans.pop(f"{attempt_ref(first['run_id'], first['attempt_id'], caller).span_id:016x}")
    assert {span.trace_id for span in (run_span, attempt, *spans.values())} == {f"{caller.trace_id:032x}"}
    assert (run_span.name, run_span.parent_id) == ("run demo", f"{caller.span_id:016x}")
    assert (attempt.name, attempt.parent_id) == ("attempt", run_span.span_id)
    assert {span.parent_id for span in spans.values()} == {attempt.span_id}
    assert Counter(span.name for span in spans.values()) == {"job touch": 300, "job all": 1}
    assert {span.attributes.get(names.WILDCARD + "n") for span in spans.values()} == {None, *map(str, range(300))}
    assert run_span.start_ns <= attempt.start_ns <= min(span.start_ns for span in spans.values())


def test_under_snakeway_only_jobs_are_told_below_its_span(tmp_path: Path, receiver: Receiver) -> None:
    ours = attempt_ref(RUN, ATTEMPT)
    environment = started_by_snakeway(tmp_path / "events", ours.traceparent())
    options = ["--keep-going", "--latency-wait", "0"]
    run = snakemake(
        tmp_path / "run", FAILING, *options, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, **environment
    )
    assert run.code == 1
    spans = receiver.wait_for(8)
    assert len(spans) == 8, "one for each try"
    assert {span.parent_id for span in spans} == {f"{ours.span_id:016x}"}
    second = next(span for span in spans if span.name == "job exit" and span.attributes[names.TRY] == 2)
    assert second.status == "ERROR"
    assert "exit status 7" in second.status_message
    assert second.attributes[names.ERROR_TYPE] == "7"
    assert [(event.name, event.attributes[names.LOG_TEXT]) for event in second.events] == [("log", "boom")]
    assert {span.attributes[names.ERROR_TYPE] for span in spans} == {"7", "1", "unknown", "SIGKILL", "SIGTERM"}


def test_a_collector_that_dies_halfway_does_not_touch_the_run(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "gate")
    workflow = MANY.replace("shell:", "input: branch(lambda w: int(w.n) > 99, 'opened')\n    shell:")
    workflow += 'rule wait:\n    output: "opened"\n    input: expand("out/{n}", n=range(100))\n'
    workflow += '    shell: "cat gate; touch {output}"\n'
    (tmp_path / "run" / "Snakefile").write_text(workflow)
    file, log = tmp_path / "events", tmp_path / "log"
    environment = PLAIN_ENVIRONMENT | started_by_snakeway(file) | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("--cores", "2", "--scheduler", "greedy", "--quiet"),
            cwd=tmp_path / "run",
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            receiver.wait_for(100, timeout_s=90)
            receiver.kill()
            (tmp_path / "run" / "gate").write_text("")
            assert process.wait(90) == 0
        finally:
            process.kill()
            process.wait()
    assert len(list((tmp_path / "run" / "out").iterdir())) == 300
    assert Counter(event["type"] for event in events_in(file))["job_finished"] == 302
    assert log.read_text().count("snakeway: spans are not sent") == 1
    assert "Traceback" not in log.read_text()
