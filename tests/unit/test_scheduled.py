"""What a scheduler says of a job: how it is stored, how it grows, and what follows for what was asked for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model.scheduled import Phase, Scheduled, efficiency, overall

numbers = st.none() | st.floats(0, 1e12)
counts = st.none() | st.integers(0, 10**9)
texts = st.text(max_size=20)
scheduled = st.builds(
    Scheduled,
    state=st.text(min_size=1, max_size=20),
    phase=st.sampled_from(Phase),
    reason=texts,
    host=st.none() | texts,
    queued_at=numbers,
    started_at=numbers,
    ended_at=numbers,
    succeeded=st.none() | st.booleans(),
    exit_code=counts,
    signal=counts,
    cpus=counts,
    mem_mb=numbers,
    cpu_s=numbers,
    max_rss_mb=numbers,
    final=st.booleans(),
)


def job(**more: Any) -> Scheduled:
    """A job that had two processors and 1000 MB for 100 s, and waited for 10 s."""
    told: dict[str, Any] = {"state": "COMPLETED", "cpus": 2, "mem_mb": 1000.0, "cpu_s": 150.0, "max_rss_mb": 600.0}
    return Scheduled(**{**told, "queued_at": 1000.0, "started_at": 1010.0, "ended_at": 1110.0, **more})


class TestStored:
    @given(scheduled)
    def test_what_is_stored_is_what_is_read(self, seen: Scheduled) -> None:
        assert Scheduled.from_json(json.loads(json.dumps(seen.to_json()))) == seen

    @given(scheduled, st.dictionaries(st.text().map(lambda name: f"x_{name}"), st.integers()))
    def test_members_of_other_versions_are_passed_over(self, seen: Scheduled, others: dict[str, Any]) -> None:
        assert Scheduled.from_json({**others, **seen.to_json()}) == seen
        assert Scheduled.from_json({"state": "FAILED"}) == Scheduled("FAILED")

    @pytest.mark.parametrize("data", [None, {}, {"state": ""}, {"phase": "ended"}])
    def test_nothing_is_read_from_nothing(self, data: dict[str, Any] | None) -> None:
        assert Scheduled.from_json(data) is None


class TestAfter:
    def test_what_only_the_one_before_knew_is_kept(self) -> None:
        running = Scheduled("RUNNING", Phase.RUNNING, host="node1", queued_at=1.0, started_at=2.0, cpus=4)
        ended = Scheduled("COMPLETED", ended_at=9.0, succeeded=True).after(running)
        assert (ended.host, ended.queued_at, ended.started_at, ended.cpus) == ("node1", 1.0, 2.0, 4)
        assert (ended.state, ended.phase, ended.ended_at, ended.succeeded) == ("COMPLETED", Phase.ENDED, 9.0, True)

    def test_a_reason_to_wait_does_not_outlive_the_waiting(self) -> None:
        waiting = Scheduled("PENDING", Phase.QUEUED, reason="Resources")
        assert Scheduled("RUNNING", Phase.RUNNING).after(waiting).reason == ""

    def test_a_closed_book_is_not_taken_back(self) -> None:
        booked = Scheduled("TIMEOUT", succeeded=False, final=True)
        assert Scheduled("COMPLETED", succeeded=True).after(booked) is booked
        assert Scheduled("FAILED", succeeded=False, final=True).after(booked).state == "FAILED"

    def test_a_job_that_waits_again_has_no_end_and_no_place_any_more(self) -> None:
        lost = job(state="NODE_FAIL", host="node1", succeeded=False, exit_code=0, signal=9)
        again = Scheduled("PENDING", Phase.QUEUED, reason="BeginTime").after(lost)
        assert (again.started_at, again.ended_at, again.host) == (None, None, None)
        assert (again.succeeded, again.exit_code, again.signal) == (None, None, None)
        assert (again.queued_at, again.cpus, again.mem_mb) == (1000.0, 2, 1000.0)
        runs = Scheduled("RUNNING", Phase.RUNNING, started_at=2000.0).after(lost)
        assert (runs.started_at, runs.ended_at, runs.succeeded) == (2000.0, None, None)

    @given(scheduled, scheduled)
    def test_hearing_it_again_changes_nothing(self, before: Scheduled, seen: Scheduled) -> None:
        known = seen.after(before)
        assert seen.after(known) == known
        assert known.after(known) == known
        assert seen.after(None) is seen


@pytest.mark.parametrize(
    ("started", "ended", "elapsed"), [(10.0, 25.5, 15.5), (10.0, 9.0, 0.0), (None, 9.0, None), (10.0, None, None)]
)
def test_the_time_on_a_node(started: float | None, ended: float | None, elapsed: float | None) -> None:
    assert Scheduled("COMPLETED", started_at=started, ended_at=ended).elapsed_s == elapsed


class TestEfficiency:
    def test_ratios_are_of_all_jobs_and_of_the_largest(self) -> None:
        found = efficiency("fit", [job(), job(cpu_s=50.0, max_rss_mb=800.0), job(cpu_s=100.0, started_at=1040.0)])
        assert (found.rule, found.jobs, found.cpus, found.mem_mb, found.max_rss_mb) == ("fit", 3, 2, 1000.0, 800.0)
        assert found.cpu_ratio == pytest.approx(300 / 540)
        assert found.mem_ratio == pytest.approx(0.8)
        assert (found.queue_s, found.run_s) == (10.0, 100.0)
        assert found.suggestion is None

    def test_jobs_that_have_not_ended_do_not_count(self) -> None:
        found = efficiency("fit", [job(phase=Phase.RUNNING), job(phase=Phase.QUEUED)])
        assert (found.jobs, found.cpu_ratio, found.mem_ratio, found.queue_s, found.run_s) == (0, None, None, None, None)
        assert overall([job(phase=Phase.RUNNING)]) == (None, None)

    def test_what_is_not_known_is_left_out_and_does_not_spoil_the_rest(self) -> None:
        found = efficiency("fit", [job(), job(cpu_s=None, max_rss_mb=None), Scheduled("COMPLETED")])
        assert (found.jobs, found.cpu_ratio, found.mem_ratio) == (3, 0.75, 0.6)
        nothing = efficiency("fit", [Scheduled("COMPLETED")])
        assert (nothing.cpu_ratio, nothing.mem_ratio, nothing.cpus, nothing.suggestion) == (None, None, None, None)
        assert efficiency("fit", []).jobs == 0

    def test_a_job_of_no_time_does_not_divide_by_it(self) -> None:
        found = efficiency("fit", [job(ended_at=1010.0)])
        assert (found.cpu_ratio, found.run_s) == (None, 0.0)

    @pytest.mark.parametrize(
        ("used", "suggestion"),
        [
            ({"max_rss_mb": 500.0}, None),  # 600 MB would be less than 1000 MB, but not half of it
            ({"max_rss_mb": 400.0}, None),  # 500 MB is half, not less than half
            ({"max_rss_mb": 100.0}, {"mem_mb": 150}),
            ({"max_rss_mb": 1.0}, {"mem_mb": 50}),
            ({"max_rss_mb": 100.0, "mem_mb": 299.0}, None),
            ({"max_rss_mb": None}, None),
            ({"max_rss_mb": 1.0, "mem_mb": None}, None),
        ],
    )
    def test_less_memory_is_suggested_when_half_would_do(
        self, used: dict[str, Any], suggestion: dict[str, Any] | None
    ) -> None:
        found = efficiency("fit", [job(**used)]).suggestion
        assert found == (suggestion and {"set_resources": {"fit": suggestion}})

    @pytest.mark.parametrize(
        ("used", "threads"),
        [
            ({"cpus": 4, "cpu_s": 300.0}, None),
            ({"cpus": 4, "cpu_s": 200.0}, None),  # half of them were busy
            ({"cpus": 4, "cpu_s": 150.0}, 2),
            ({"cpus": 4, "cpu_s": 100.0}, 1),
            ({"cpus": 16, "cpu_s": 90.0}, 1),
            ({"cpus": 2, "cpu_s": 0.0}, 1),
            ({"cpus": 1, "cpu_s": 0.0}, None),
            ({"cpus": None, "cpu_s": 1.0}, None),
            ({"cpus": 4, "cpu_s": 1.0, "ended_at": 1019.0}, None),  # too short to tell
        ],
    )
    def test_fewer_threads_are_suggested_when_half_would_do(self, used: dict[str, Any], threads: int | None) -> None:
        found = efficiency("fit", [job(**used)]).suggestion
        assert found == (None if threads is None else {"set_threads": {"fit": threads}})

    def test_both_are_suggested_together(self) -> None:
        found = efficiency("fit", [job(cpus=8, max_rss_mb=100.0)]).suggestion
        assert found == {"set_threads": {"fit": 2}, "set_resources": {"fit": {"mem_mb": 150}}}

    @given(st.lists(scheduled, max_size=5))
    def test_a_suggestion_is_always_less_than_what_was_given(self, jobs: list[Scheduled]) -> None:
        found = efficiency("fit", jobs)
        suggestion = found.suggestion or {}
        for values in suggestion.get("set_resources", {}).values():
            assert found.mem_mb is not None
            assert 0 < values["mem_mb"] < found.mem_mb
        for threads in suggestion.get("set_threads", {}).values():
            assert found.cpus is not None
            assert 0 < threads < found.cpus
        overall(jobs)

    def test_all_rules_together(self) -> None:
        cpu, memory = overall([job(), job(cpu_s=0.0, max_rss_mb=100.0, mem_mb=3000.0), Scheduled("COMPLETED")])
        assert cpu == pytest.approx(150 / 400)
        assert memory == pytest.approx(700 / 4000)
        assert overall([]) == (None, None)
