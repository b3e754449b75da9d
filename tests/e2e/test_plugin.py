"""The logger plugin inside a real snakemake: what it records of runs that go well, nest, stop or are in the way.

Each test reads the events as the intake does. A snakemake start takes some seconds, so tests that look at the same run
share it.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snakemake_logger_plugin_snakeway.identity import Identity
from snakeway import ids
from tests.e2e.plugin_runs import (
    ATTEMPT,
    GOOD,
    PLAIN_ENVIRONMENT,
    RUN,
    Finished,
    command,
    events_in,
    snakemake,
    started_by_snakeway,
)
from tests.support.waiting import wait_until


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


def test_jobs_beside_snakemake_start_at_once(good_run: Finished) -> None:
    ends = {event["job"]: event for event in good_run.events("job_finished")}
    assert len(ends) == 5
    for job in good_run.events("job"):
        assert job["t"] == ends[job["job"]]["started_at"] <= ends[job["job"]]["t"]
    assert not good_run.events("job_submitted")
    assert not good_run.events("job_started")
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


OTHER_PLUGIN = """
from snakemake_interface_logger_plugins.base import LogHandlerBase

class LogHandler(LogHandlerBase):
    writes_to_stream = writes_to_file = needs_rulegraph = False
    has_filter = has_formatter = True

    def emit(self, record):
        with open("told.txt", "a") as file:
            print(getattr(record, "event", None), file=file)
"""


def test_another_logger_plugin_gets_all_records_and_ours_those_that_it_wants(
    tmp_path: Path, good_run: Finished
) -> None:
    plugin = tmp_path / "plugins" / "snakemake_logger_plugin_other" / "__init__.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(OTHER_PLUGIN)
    path = os.pathsep.join(filter(None, [str(plugin.parent.parent), PLAIN_ENVIRONMENT.get("PYTHONPATH")]))
    run = snakemake(tmp_path / "run", GOOD, "--logger", "snakeway", "other", PYTHONPATH=path)
    assert run.code == 0, run.output
    alone, beside = (Counter(event["type"] for event in found.events()) for found in (good_run, run))
    assert beside - Counter(progress=beside["progress"]) == alone - Counter(progress=alone["progress"])
    told = Counter((tmp_path / "run" / "told.txt").read_text().split())
    assert (told["progress"], told["job_started"], told["shellcmd"]) == (5, 5, 5)
    assert [run.events("progress")[-1][name] for name in ("done", "total")] == [5, 5]


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


@pytest.mark.parametrize(("option", "directive"), [(True, False), (False, True)])
def test_events_lie_where_the_workflow_works(tmp_path: Path, option: bool, directive: bool) -> None:
    options = ["--directory", "elsewhere"] if option else []
    run = snakemake(tmp_path, 'workdir: "elsewhere"\n' * directive + GOOD, *options)
    assert run.code == 0
    assert run.events()[0]["directory"] == str(tmp_path / "elsewhere")
    assert run.event_files()[0].is_relative_to(tmp_path / "elsewhere" / ".snakeway")
    assert len(run.events("job_finished")) == 5


def test_a_relative_events_file_is_relative_to_where_snakemake_was_started(tmp_path: Path) -> None:
    run = snakemake(tmp_path, GOOD, "--directory", "elsewhere", **started_by_snakeway(Path("my-events")))
    assert run.code == 0
    assert events_in(tmp_path / "my-events", "attempt_ended")


NESTED = (
    """
rule outer:
    output: "outer.txt"
    shell:
        "{PYTHON} -m snakemake --logger snakeway --cores 1 --directory inner"
        " --snakefile inner.smk && touch {{output}}"
""".replace("{PYTHON}", sys.executable)
    .replace("{{", "{")
    .replace("}}", "}")
)


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
    waits = "import time; open('begun', 'x'); time.sleep(600)"
    (tmp_path / "Snakefile").write_text(f"rule all:\n    output: 'x'\n    shell: r'''python3 -c \"{waits}\"'''\n")
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
        # A signal between fork and exec of its shell is lost on a job, and any snakemake waits for that job then.
        wait_until((tmp_path / "begun").exists, timeout_s=30, what="the job's process")
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
    broken.write_text("import snakemake_logger_plugin_snakeway.jobs as jobs\ndel jobs._resources\n")
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
