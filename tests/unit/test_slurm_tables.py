"""What squeue and sacct print, read into jobs. The lines are those of Slurm 22.05, some of 20.11."""

import os
import pwd
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model.scheduled import Phase, Scheduled
from snakeway.targets.slurm.tables import (
    BOOKS_FORMAT,
    QUEUE_FORMAT,
    Unreadable,
    books,
    phase_of,
    queue,
    seconds,
    size_mb,
)

RUN = "0193c0de-0000-7000-8000-000000000001"

PENDING = f"7|PENDING|Resources||1795253001|N/A|N/A|2|1000M|{RUN}"
RUNNING = f"8|RUNNING|None|node1|1795253001|1795253002|1795256602|2|1000M|{RUN}"
DONE = f"9|COMPLETED|None|node2|1795253001|1795253002|1795253010|1|500M|{RUN}"
TIMEOUT = f"10|TIMEOUT|TimeLimit|node1|1795253001|1795253002|1795253070|1|4G|{RUN}"


def one(line: str) -> Scheduled:
    """Return the only job of what squeue printed."""
    [[job]] = [jobs.values() for jobs in queue(line).values()]
    return job


class TestQueue:
    def test_a_job_that_waits_says_why_and_has_no_forecast_of_its_start(self) -> None:
        told = Scheduled("PENDING", Phase.QUEUED, reason="Resources", queued_at=1795253001.0, cpus=2, mem_mb=1000.0)
        assert one(PENDING) == told
        assert one(PENDING.replace("N/A|N/A", "1795260000|1795263600")) == told

    def test_a_running_job_is_on_a_node_and_has_not_ended(self) -> None:
        assert one(RUNNING) == Scheduled(
            "RUNNING",
            Phase.RUNNING,
            host="node1",
            queued_at=1795253001.0,
            started_at=1795253002.0,
            cpus=2,
            mem_mb=1000.0,
        )

    @pytest.mark.parametrize(("line", "succeeded"), [(DONE, True), (TIMEOUT, False)])
    def test_an_ended_job_has_an_end_and_an_outcome(self, line: str, succeeded: bool) -> None:
        job = one(line)
        assert (job.phase, job.succeeded, job.final) == (Phase.ENDED, succeeded, False)
        assert job.elapsed_s in (8.0, 68.0)
        assert job.reason == ("" if succeeded else "TimeLimit")

    def test_jobs_are_told_apart_by_name_and_id(self) -> None:
        found = queue(
            "\n".join([PENDING, RUNNING, "11|RUNNING|None|n|1|2|3|1|1M|x|y", "12_4|RUNNING|None|n|1|2|3|1|1M|x"])
        )
        assert {name: set(jobs) for name, jobs in found.items()} == {RUN: {"7", "8"}, "x|y": {"11"}, "x": {"12_4"}}

    def test_arrays_are_kept_under_the_ids_that_squeue_prints(self) -> None:
        lines = [f"20_[3-9%2]|PENDING|JobArrayTaskLimit||1|N/A|N/A|1|0|{RUN}", f"20_2|RUNNING|None|n|1|2|N/A|1|0|{RUN}"]
        assert {id_: job.phase for id_, job in queue("\n".join(lines))[RUN].items()} == {
            "20_[3-9%2]": Phase.QUEUED,
            "20_2": Phase.RUNNING,
        }

    @pytest.mark.parametrize("text", ["", "\n\n", " \n", "CLUSTER: alps\n"])
    def test_an_empty_queue_has_no_jobs(self, text: str) -> None:
        assert queue(text) == {}
        assert set(queue(f"{text}\n{RUNNING}")[RUN]) == {"8"}

    @pytest.mark.parametrize(
        "text", ["slurm_load_jobs error: Unable to contact slurm controller", "7|PENDING|Resources", RUN, "|" * 8]
    )
    def test_nothing_is_concluded_from_half_an_answer(self, text: str) -> None:
        with pytest.raises(Unreadable, match=re.escape(text)):
            queue(f"{RUNNING}\n{text}\n")

    @given(st.text() | st.lists(st.text(), min_size=10, max_size=10).map("|".join))
    def test_no_text_is_too_strange(self, text: str) -> None:
        with suppress(Unreadable):
            queue(text)


def booked(id_: str, state: str = "COMPLETED", exit_code: str = "0:0", **more: str) -> str:
    """A line of sacct."""
    told = {
        "JobID": id_,
        "State": state,
        "ExitCode": exit_code,
        "NodeList": "node1",
        "Submit": "1795253001",
        "Start": "1795253002",
        "End": "1795253012",
        "TotalCPU": "00:08.500",
        "MaxRSS": "",
        "ReqMem": "1000M",
        "AllocCPUS": "2",
        "NNodes": "1",
        "Reason": "None",
    }
    return "|".join((told | more)[name] for name in BOOKS_FORMAT.split(","))


class TestBooks:
    def test_a_job_has_the_memory_of_its_largest_step(self) -> None:
        steps = [
            booked("9"),
            booked("9.batch", MaxRSS="129236K", ReqMem=""),
            booked("9.extern", MaxRSS="0", ReqMem=""),
            booked("9.0", MaxRSS="256M", ReqMem=""),
        ]
        assert books("\n".join(steps)) == {
            "9": Scheduled(
                "COMPLETED",
                host="node1",
                queued_at=1795253001.0,
                started_at=1795253002.0,
                ended_at=1795253012.0,
                succeeded=True,
                exit_code=0,
                cpus=2,
                mem_mb=1000.0,
                cpu_s=8.5,
                max_rss_mb=256.0,
                final=True,
            )
        }
        assert books("\n".join(reversed(steps))) == books("\n".join(steps))

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (booked("1", "FAILED", "3:0"), {"state": "FAILED", "exit_code": 3, "signal": None}),
            (booked("1", "FAILED", "0:9"), {"state": "FAILED", "exit_code": 0, "signal": 9}),
            (booked("1", "OUT_OF_MEMORY", "0:125"), {"state": "OUT_OF_MEMORY", "exit_code": 0, "signal": None}),
            (booked("1", "FAILED", f"{'9' * 5000}:0", End="nan", Start="inf"), {"exit_code": None, "ended_at": None}),
            (booked("1", "TIMEOUT", "0:0", Reason="TimeLimit"), {"state": "TIMEOUT", "reason": "TimeLimit"}),
            (booked("1", "NODE_FAIL", "1:0", NodeList="node3"), {"state": "NODE_FAIL", "host": "node3"}),
            (booked("1", "PREEMPTED", "0:15"), {"state": "PREEMPTED", "signal": 15}),
            (booked("1", "CANCELLED", NodeList="None assigned", Start="Unknown"), {"host": None, "started_at": None}),
            (booked("1", "CANCELLED by 4294967294"), {"state": "CANCELLED", "reason": "by user 4294967294"}),
            (booked("1", "CANCELLED by 99999999999999999999"), {"reason": "by user 99999999999999999999"}),
        ],
    )
    def test_ends(self, line: str, told: dict[str, Any]) -> None:
        job = books(line)["1"]
        assert {name: getattr(job, name) for name in told} == told
        assert (job.phase, job.succeeded, job.final, job.max_rss_mb) == (Phase.ENDED, False, True, None)

    def test_who_cancelled_a_job_is_called_by_name(self) -> None:
        assert (
            books(booked("1", f"CANCELLED by {os.getuid()}"))["1"].reason == f"by {pwd.getpwuid(os.getuid()).pw_name}"
        )

    @pytest.mark.parametrize("state", ["RUNNING", "PENDING", "REQUEUED", "SUSPENDED", "", "OF_TOMORROW"])
    def test_books_that_are_not_closed_are_not_read(self, state: str) -> None:
        assert books("\n".join([booked("1", state, End="Unknown"), booked("2"), booked("2.batch", state)])).keys() == {
            "2"
        }

    def test_arrays_are_one_job_for_each_task(self) -> None:
        found = books("\n".join([booked("5_1"), booked("5_1.batch", MaxRSS="1M"), booked("5_2", "FAILED", "1:0")]))
        assert {id_: (job.succeeded, job.max_rss_mb) for id_, job in found.items()} == {
            "5_1": (True, 1.0),
            "5_2": (False, None),
        }

    @pytest.mark.parametrize(
        "text", ["", "sacct: error: slurm_persist_conn_open_without_init", "9|COMPLETED", "9.batch|x", "|" * 11]
    )
    def test_what_is_no_job_is_passed_over(self, text: str) -> None:
        assert books(text) == {}
        assert books(f"{text}\n{booked('2')}").keys() == {"2"}

    @given(st.text() | st.lists(st.text(), min_size=13, max_size=13).map("|".join))
    def test_no_text_is_too_strange(self, text: str) -> None:
        books(text)


def test_the_formats_have_as_many_fields_as_are_read() -> None:
    assert len(QUEUE_FORMAT.split("|")) == len(PENDING.split("|"))
    assert len(BOOKS_FORMAT.split(",")) == len(booked("1").split("|"))


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        *((state, Phase.QUEUED) for state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")),
        *((state, Phase.RUNNING) for state in ("RUNNING", "COMPLETING", "SUSPENDED", "OF_TOMORROW", "")),
        *((state, Phase.ENDED) for state in ("COMPLETED", "BOOT_FAIL", "REVOKED", "TIMEOUT")),
    ],
)
def test_every_state_is_waiting_running_or_an_end(state: str, phase: Phase) -> None:
    assert phase_of(state) is phase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250M", 250.0),
        ("129236K", 126.207),
        ("1.50G", 1536.0),
        ("2T", 2097152.0),
        ("0", 0.0),
        ("1048576", 1.0),
        ("4Gn", 4096.0),  # before version 21.08: per node
        ("500Mc", 500.0),  # per processor
        *((text, None) for text in ("", "?", "M", "16?", "-1M", "1.2.3M", ".", "1 M", "1X")),
    ],
)
def test_sizes(text: str, expected: float | None) -> None:
    assert size_mb(text) == (expected if expected is None else pytest.approx(expected, abs=0.001))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:01.653", 1.653),
        ("02:03", 123.0),
        ("01:02:03", 3723.0),
        ("1-02:03:04", 93784.0),
        ("12-00:00:00", 1036800.0),
        *((text, None) for text in ("", "INVALID", "UNLIMITED", "Partition_Limit", "1:2:3:4", "00:1.2.3", "1-2", ":.")),
    ],
)
def test_lengths_of_time(text: str, expected: float | None) -> None:
    assert seconds(text) == (expected if expected is None else pytest.approx(expected))


@given(st.text() | st.text(alphabet="0123456789.:-KMGTPBnc"))
def test_no_size_and_no_time_is_too_strange(text: str) -> None:
    size_mb(text)
    seconds(text)
