"""What jobs had of processors and memory: moves of one job, jobs that share an allocation, and sums that are exact."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model.job import Job, JobState
from snakeway.model.scheduled import Phase, Scheduled
from snakeway.model.usage import BESIDE_SNAKEMAKE, Share, Usage, month_of, of_jobs

T = 1_700_000_000.0  # in November 2023
MONTH = "2023-11"
DECEMBER = T + 30 * 86_400
GIVEN = Scheduled("COMPLETED", cpus=8, mem_mb=4096.0, started_at=T, ended_at=T + 10)


def job(number: int = 1, **members: Any) -> Job:
    """A job that a cluster ran for 10 s, that asked for 2 processors and 1024 MiB."""
    values: dict[str, Any] = {
        "state": JobState.SUCCEEDED,
        "rule": "fit",
        "threads": 2,
        "resources": {"mem_mb": 1024},
        "started_at": T,
        "ended_at": T + 10,
        "external_id": str(number),
    }
    return Job(number, **(values | members))


def tried(**members: Any) -> dict[str, Any]:
    """A failed try of 4 s with one processor and 512 MiB."""
    values = {"try": 1, "started_at": T - 10, "ended_at": T - 6, "threads": 1, "resources": {"mem_mb": 512}}
    return {**values, "external_id": "0", "scheduled": None, **members}


def usage(*jobs: Job, at: float = T + 100, executor: str | None = "slurm") -> dict[Share, Usage]:
    return of_jobs(jobs, target="slurm", executor=executor, at=at)


def one(*jobs: Job, **options: Any) -> Usage:
    (found,) = usage(*jobs, **options).values()
    return found


CASES: dict[str, tuple[Job, Usage]] = {
    "what was asked for": (job(), Usage(20_000, 10_240_000, 1)),
    "what was given counts more": (job(scheduled=GIVEN.to_json()), Usage(80_000, 40_960_000, 1)),
    "given processors, asked memory": (
        job(scheduled=Scheduled("COMPLETED", cpus=4).to_json()),
        Usage(40_000, 10_240_000, 1),
    ),
    "memory told as text": (job(resources={"mem_mb": "512"}), Usage(20_000, 5_120_000, 1)),
    "no memory": (job(resources={}), Usage(20_000, 0, 1, jobs_without_memory=1)),
    "memory that nobody knows yet": (job(resources={"mem_mb": "<TBD>"}), Usage(20_000, 0, 1, jobs_without_memory=1)),
    "a failure": (job(state=JobState.FAILED), Usage(20_000, 10_240_000, 1)),
    "a cancellation": (job(state=JobState.CANCELLED), Usage(20_000, 10_240_000, 1)),
    "a loss": (job(state=JobState.LOST, ended_at=T + 1.5), Usage(3_000, 1_536_000, 1)),
    "a gate": (job(state=JobState.WAITING), Usage(20_000, 10_240_000, 1)),
    "a repeated failure": (job(tries=[tried()]), Usage(24_000, 12_288_000, 1)),
    "a repeated failure without memory": (
        job(tries=[tried(resources={})]),
        Usage(24_000, 10_240_000, 1, jobs_without_memory=1),
    ),
    "a failure, and a try that waits": (
        job(state=JobState.SUBMITTED, started_at=None, ended_at=None, tries=[tried()]),
        Usage(4_000, 2_048_000, 1),
    ),
    "an end before the start": (job(ended_at=T - 5), Usage(0, 0, 1)),
    "a success without a start": (job(started_at=None), Usage(jobs=1, jobs_unknown=1)),
    "a failure that nobody watched": (
        job(state=JobState.FAILED, started_at=None),
        Usage(jobs=1, jobs_unknown=1),
    ),
    "it runs": (job(state=JobState.RUNNING, ended_at=None), Usage(200_000, 102_400_000, 1, jobs_running=1)),
}


@pytest.mark.parametrize("case", CASES)
def test_one_job(case: str) -> None:
    known, expected = CASES[case]
    assert usage(known) == {Share("fit", MONTH, "slurm"): expected}


@pytest.mark.parametrize(
    "known",
    [
        job(state=JobState.SUBMITTED, started_at=None, ended_at=None),
        job(state=JobState.CANCELLED, started_at=None, external_id=None),
        job(state=JobState.LOST, started_at=None, scheduled=Scheduled("CANCELLED", Phase.ENDED).to_json()),
    ],
)
def test_a_job_that_never_started_used_nothing(known: Job) -> None:
    assert usage(known) == {}


def test_each_try_is_of_the_month_in_which_it_ended() -> None:
    found = usage(job(started_at=DECEMBER, ended_at=DECEMBER + 10, tries=[tried()]))
    assert found == {
        Share("fit", MONTH, "slurm"): Usage(4_000, 2_048_000),
        Share("fit", "2023-12", "slurm"): Usage(20_000, 10_240_000, 1),
    }


def test_partitions_and_queues_stay_apart() -> None:
    spot = job(2, resources={"aws_batch_queue": "spot", "mem_mb": 1024})
    found = usage(job(1, resources={"slurm_partition": "long", "mem_mb": 1024}), spot)
    assert sorted(share.queue for share in found) == ["long", "spot"]


def test_what_snakemake_runs_by_itself_does_not_cost_what_the_cluster_costs() -> None:
    beside = job(2, local=True, external_id=None)
    assert {share.target for share in usage(beside)} == {BESIDE_SNAKEMAKE}
    assert {share.target for share in usage(beside, executor="local")} == {"slurm"}  # a target on this machine
    # Of a run by hand nobody knows the executor.
    assert {share.target for share in usage(beside, executor=None)} == {"slurm"}
    assert {share.target for share in usage(job(), beside, executor=None)} == {"slurm", BESIDE_SNAKEMAKE}


def test_jobs_of_a_group_share_what_was_given_to_it_once() -> None:
    group = [job(number, external_id="7", scheduled=GIVEN.to_json()) for number in range(3)]
    assert one(*group) == Usage(80_000, 40_960_000, 3)
    alone = [one(*group[:1]), one(job(9, external_id="9", scheduled=GIVEN.to_json()))]
    assert alone == [Usage(80_000, 40_960_000, 1)] * 2


@pytest.mark.parametrize(("t", "month"), [(T, MONTH), (1_704_067_199.999, "2023-12"), (1_704_067_200, "2024-01")])
def test_months_are_those_of_utc(t: float, month: str) -> None:
    assert month_of(t) == month


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(T)
objects = st.dictionaries(st.sampled_from(["mem_mb", "slurm_partition"]), anything)
said = st.none() | st.fixed_dictionaries({"state": st.just("X"), "cpus": anything, "mem_mb": anything})
tries = st.fixed_dictionaries(
    {"started_at": anything, "ended_at": anything, "threads": anything, "resources": objects, "scheduled": said}
)
jobs = st.builds(
    Job,
    number=st.integers(0, 10**9),
    state=st.sampled_from(JobState),
    rule=st.sampled_from(["a", "b"]),
    threads=st.integers(-5, 2**31),
    resources=objects,
    started_at=st.none() | st.floats(-1e11, 1e11),
    ended_at=st.none() | st.floats(-1e11, 1e11),
    external_id=st.none() | st.sampled_from(["1", "2"]),
    scheduled=said,
    local=st.booleans(),
    tries=st.lists(tries, max_size=3),
)


@given(st.lists(jobs, max_size=5, unique_by=lambda job: job.number))
def test_whatever_events_say_usage_is_a_count(known: list[Job]) -> None:
    found = of_jobs(known, target="slurm", executor=None, at=T)
    assert found == of_jobs(known, target="slurm", executor=None, at=T)
    total = sum(found.values(), Usage())
    assert total.jobs <= len(known)
    assert all(isinstance(getattr(total, name), int) and getattr(total, name) >= 0 for name in Usage.__slots__)
    assert max(total.jobs_running, total.jobs_unknown, total.jobs_without_memory) <= total.jobs


@given(st.integers(1, 40), st.integers(1, 10_000), st.integers(1, 64), st.integers(1, 100_000))
def test_the_parts_of_an_allocation_add_up_to_it(count: int, ms: int, cpus: int, mem_mb: int) -> None:
    given_ = Scheduled("COMPLETED", cpus=cpus, mem_mb=float(mem_mb)).to_json()
    times = {"started_at": T, "ended_at": T + ms / 1000}
    group = [job(number, external_id="7", scheduled=given_, **times) for number in range(count)]
    assert one(*group) == Usage(ms * cpus, ms * mem_mb, count)
