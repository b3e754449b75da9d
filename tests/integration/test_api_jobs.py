import pytest

from snakeway.model.attempt import AttemptState
from snakeway.model.job import Job, JobState
from snakeway.rows import RunRow
from tests.integration.test_api_fixtures import Api

pytest_plugins = ["tests.integration.test_api_fixtures"]

PLAN = {
    "total": 2,
    "by_rule": {"fit": 2},
    "jobs": [{"rule": "fit", "wildcards": None, "reason": None, "output": ["a"], "threads": 1, "resources": None}],
    "truncated": True,
}


def with_jobs(api: Api) -> RunRow:
    """A run with 7 jobs in attempt 1 and 3 in attempt 2."""
    run = api.add_run()
    first = api.end(run, AttemptState.FAILED)
    second = api.add_attempt(run)
    states = [JobState.SUCCEEDED, JobState.FAILED, JobState.RUNNING]
    api.add_jobs(first, *(Job(number=i, state=states[i % 3], rule=f"r{i % 2}", submitted_at=1.5) for i in range(7)))
    tries = [{"try": 1, "ended_at": 2.25, "exit_code": 137, "resources": {"mem_mb": 1}, "message": "killed"}]
    retried = Job(number=2, try_number=2, state=JobState.FAILED, submitted_at=1e300, ended_at=3.5, tries=tries)
    api.add_jobs(second, Job(number=0), Job(number=1), retried)
    return run


def test_jobs_of_all_attempts_are_listed_in_order_and_in_pages(api: Api) -> None:
    run = with_jobs(api)
    expected = [(1, i) for i in range(7)] + [(2, i) for i in range(3)]
    for limit in (1, 3, 10, 500):
        seen, cursor = [], None
        while True:
            page = api.get(f"/runs/{run.id}/jobs", limit=limit, **({"cursor": cursor} if cursor else {}))
            seen += [(job["attempt"], job["job"]) for job in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == expected


def test_jobs_are_filtered(api: Api) -> None:
    run = with_jobs(api)

    def numbers(**query: object) -> list[int]:
        return [job["job"] for job in api.get(f"/runs/{run.id}/jobs", **query)["items"]]

    assert numbers(attempt=1, state="failed") == [1, 4]
    assert numbers(attempt=1, state=["failed", "running"]) == [1, 2, 4, 5]
    assert numbers(attempt=1, rule="r1") == [1, 3, 5]
    assert numbers(attempt=2) == [0, 1, 2]
    assert numbers(attempt=2, limit=2) == [0, 1]
    assert numbers(rule="nothing") == []
    api.refused("GET", f"/runs/{run.id}/jobs?attempt=3", "attempt_not_found")
    for query in ("attempt=0", "attempt=x", "attempt=9999999999999", "state=ended", "sort=rule"):
        api.refused("GET", f"/runs/{run.id}/jobs?{query}", "invalid_request")


@pytest.mark.parametrize("query", ["cursor=%25", "attempt=1&cursor=YQ"])
def test_a_cursor_of_another_listing_is_refused(api: Api, query: str) -> None:
    run = with_jobs(api)
    api.refused("GET", f"/runs/{run.id}/jobs?{query}", "invalid_cursor")


def test_a_job_is_of_the_newest_attempt_unless_one_is_named(api: Api) -> None:
    run = with_jobs(api)
    job = api.get(f"/runs/{run.id}/jobs/2")
    assert (job["attempt"], job["try"], job["state"]) == (2, 2, "failed")
    assert job["submitted_at"] is None  # no time on earth: what an event says may be anything
    assert job["ended_at"] == "1970-01-01T00:00:03.500000Z"
    assert job["tries"][0]["ended_at"] == "1970-01-01T00:00:02.250000Z"
    assert job["tries"][0]["exit_code"] == 137
    assert api.get(f"/runs/{run.id}/jobs/2", attempt=1)["state"] == "running"
    api.refused("GET", f"/runs/{run.id}/jobs/7", "job_not_found")
    api.refused("GET", f"/runs/{run.id}/jobs/2?attempt=3", "attempt_not_found")
    assert api.refused("GET", f"/runs/{run.id}/jobs/99999999999", "invalid_request")["field"] == "job"
    api.refused("GET", f"/runs/{run.id}/jobs/x", "not_found")


def test_rules_are_counted_by_state(api: Api) -> None:
    run = with_jobs(api)
    assert api.get(f"/runs/{run.id}/rules", attempt=1) == {
        "items": [
            {"rule": "r0", "states": {"failed": 1, "running": 1, "succeeded": 2}},
            {"rule": "r1", "states": {"failed": 1, "running": 1, "succeeded": 1}},
        ],
        "next": None,
    }
    assert [each["rule"] for each in api.get(f"/runs/{run.id}/rules")["items"]] == [""]
    api.refused("GET", f"/runs/{run.id}/rules?attempt=9", "attempt_not_found")


def test_attempts_are_listed_oldest_first(api: Api) -> None:
    run = api.add_run()
    api.end(run, AttemptState.LOST)
    graph = {"nodes": [{"rule": "a"}, {"rule": "b"}], "links": [{"source": 0, "target": 1}]}
    api.add_attempt(run, plan=PLAN, rulegraph=graph, overrides={"until": ["x"], "of_a_later_version": 1})
    first, second = api.get(f"/runs/{run.id}/attempts")["items"]
    assert (first["number"], first["state"], first["plan"], first["rulegraph"]) == (1, "lost", None, None)
    assert second["plan"]["jobs"][0] == {
        "rule": "fit", "wildcards": {}, "reason": "", "output": ["a"], "threads": 1, "resources": {}
    }  # fmt: skip
    assert second["plan"]["truncated"] is True
    assert second["rulegraph"] == graph
    assert second["overrides"]["until"] == ["x"]
    assert api.get(f"/runs/{run.id}/attempts/2") == second
    api.refused("GET", f"/runs/{run.id}/attempts/3", "attempt_not_found")
    api.refused("GET", f"/runs/{run.id}/attempts/0", "invalid_request")


@pytest.mark.parametrize(
    "graph", [{}, {"nodes": 1, "links": []}, {"nodes": [1], "links": []}, {"nodes": [], "links": [{"source": "x"}]}]
)
def test_a_rule_graph_that_makes_no_sense_is_none(sqlite_api: Api, graph: object) -> None:
    run = sqlite_api.add_run()
    sqlite_api.end(run)
    sqlite_api.add_attempt(run, rulegraph=graph)
    assert sqlite_api.get(f"/runs/{run.id}/attempts/2")["rulegraph"] is None


def test_workflows_and_targets_are_listed_with_their_faults(sqlite_api: Api) -> None:
    listed = {each["name"]: each for each in sqlite_api.get("/workflows")["items"]}
    assert sorted(listed) == ["broken", "plain", "strict"]
    assert listed["broken"]["error"]
    assert listed["strict"]["schema"]["required"] == ["samples"]
    assert listed["strict"]["defaults"] == {"samples": ["a", "b"]}
    assert sqlite_api.get("/workflows/strict") == listed["strict"]
    sqlite_api.refused("GET", "/workflows/nothing", "workflow_not_found")
    sqlite_api.refused("GET", "/workflows/%2e%2e", "workflow_not_found")
    targets = {each["name"]: each for each in sqlite_api.get("/targets")["items"]}
    assert targets["local"]["executor"] == "local"
    assert targets["local"]["error"] is None
    assert targets["bad"]["error"]
