"""What runs cost, from the end of an attempt to the answer of the API, on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar.testing import TestClient
from sqlalchemy import update
from sqlmodel import select

from snakeway import ids
from snakeway.app import create_app
from snakeway.catalog import Catalog
from snakeway.errors import RunNotFound
from snakeway.model.attempt import AttemptState, Exit
from snakeway.model.job import Job, JobState
from snakeway.model.scheduled import Scheduled
from snakeway.model.usage import GroupBy
from snakeway.model.user import User
from snakeway.rows import AttemptRow, RunRow, UsageRow, now
from snakeway.store import Store, attempts, jobs, runs, usage
from snakeway.store.usage import UsageFilter
from snakeway.supervisor.books import Books
from snakeway.supervisor.end import end
from tests.integration.test_api_fixtures import URL, Api, make_parts, write_catalog

pytest_plugins = ["tests.integration.test_api_fixtures"]

T = datetime(2026, 3, 10, tzinfo=UTC).timestamp()
HOUR = 3600.0
PRICES = """\
currency: EUR
prices:
  - {target: local, kind: on_demand, vcpu_hour: 0.5, gib_hour: 0.25}
  - {target: local, kind: on_demand, vcpu_hour: 5, gib_hour: 0.25, from: 2026-04}
  - {target: slurm, kind: cluster, vcpu_hour: 0.1, gib_hour: 0}
"""


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES)
    return path


@pytest.fixture
def priced(store: Store, tmp_path: Path, prices: Path) -> Iterator[Api]:
    """An application with prices, once on each kind of database."""
    parts = make_parts(store, write_catalog(tmp_path).model_copy(update={"prices_file": prices}))
    app = create_app(parts)
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as client:
        yield Api(app, client, store, parts.settings, parts.commands, parts.reads)


def job(number: int = 1, **members: Any) -> Job:
    """A job of an hour on one processor with one GiB."""
    values = {"rule": "fit", "state": JobState.SUCCEEDED, "resources": {"mem_mb": 1024}, "local": True}
    return Job(number, **(values | {"started_at": T, "ended_at": T + HOUR} | members))


def hold(api: Api, *known: Job, **members: Any) -> tuple[RunRow, AttemptRow]:
    """Commit a run whose attempt a supervisor holds, with these jobs."""
    run = api.add_run(**members)
    row = api.newest(run)
    api.move(row.id, AttemptState.STARTING, AttemptState.RUNNING)
    with api.store.write() as tx:
        tx.exec(update(AttemptRow).where(AttemptRow.id == row.id).values(lease_owner="s1"))  # type: ignore[arg-type]
        jobs.save(tx, run.id, row.id, known)
    return run, api.newest(run)


def finish(api: Api, row: AttemptRow, at: float = T + 2 * HOUR, **options: Any) -> None:
    with api.store.write() as tx:
        assert end(tx, row, Exit("run", 0, None, at), 0, **options) is not None


def ended(api: Api, *known: Job, **members: Any) -> RunRow:
    run, row = hold(api, *known, **members)
    finish(api, row)
    return run


def rows(api: Api) -> list[dict[str, Any]]:
    with api.store.read() as tx:
        return sorted((row.model_dump() for row in tx.exec(select(UsageRow)).all()), key=str)


def test_a_run_costs_what_its_jobs_had_by_rule_and_attempt(priced: Api) -> None:
    run = ended(priced, job(1), job(2, rule="plot", threads=4), job(3, state=JobState.RUNNING, ended_at=None))
    row = priced.add_attempt(run)
    with priced.store.write() as tx:
        jobs.save(tx, run.id, row.id, [job(1, ended_at=T + HOUR / 2)])
    priced.move(row.id, AttemptState.STARTING, AttemptState.RUNNING)
    found = priced.get(f"/runs/{run.id}/cost")
    assert (found["run_id"], found["provisional"]) == (run.id, True)  # the second attempt runs
    assert {rule["rule"]: rule["cost"]["vcpu_hours"] for rule in found["rules"]} == {"fit": 1 + 2 + 0.5, "plot": 4}
    assert [(each["attempt"], each["cost"]["amount"]) for each in found["attempts"]] == [(1, "4.50"), (2, "0.375")]
    total = found["total"]
    assert (total["vcpu_hours"], total["gib_hours"], total["jobs"]) == (7.5, 4.5, 4)
    assert (total["amount"], total["currency"], total["kinds"], total["missing"]) == ("4.875", "EUR", ["on_demand"], [])
    assert total["estimate"] is True
    assert "estimate" in found["basis"]
    only = priced.get(f"/runs/{run.id}/cost", attempt=1)
    assert (only["total"]["amount"], only["provisional"]) == ("4.50", False)
    priced.refused("GET", f"/runs/{run.id}/cost", "attempt_not_found", params={"attempt": 3})
    priced.refused("GET", f"/runs/{ids.new_id()}/cost", "run_not_found")


def test_a_job_that_runs_counts_up_to_now(priced: Api) -> None:
    began = now().timestamp() - HOUR
    run, _ = hold(priced, job(1, state=JobState.RUNNING, started_at=began, ended_at=None))
    found = priced.get(f"/runs/{run.id}/cost")
    assert found["provisional"]
    assert found["total"]["jobs_running"] == 1
    assert found["total"]["vcpu_hours"] >= 1
    assert rows(priced) == []
    assert priced.get("/cost")["active_runs"] == 1


def test_prices_are_edited_without_a_restart_and_a_broken_file_hides_no_hours(priced: Api, prices: Path) -> None:
    run = ended(priced, job())
    assert priced.get(f"/runs/{run.id}/cost")["total"]["amount"] == "0.75"
    prices.write_text(PRICES.replace("vcpu_hour: 0.5", "vcpu_hour: 1.5"))
    assert priced.get(f"/runs/{run.id}/cost")["total"]["amount"] == "1.75"
    prices.write_text(PRICES.replace("vcpu_hour: 0.5", "vcpu_hour: low"))
    total = priced.get(f"/runs/{run.id}/cost")["total"]
    assert (total["amount"], total["vcpu_hours"]) == (None, 1.0)
    assert "prices.yaml, line 3: prices[0].vcpu_hour" in total["missing"][0]


def test_without_prices_or_without_the_one_it_takes_hours_are_shown(api: Api) -> None:
    run = ended(api, job())
    total = api.get(f"/runs/{run.id}/cost")["total"]
    assert (total["amount"], total["currency"], total["vcpu_hours"]) == (None, None, 1.0)
    assert "prices_file" in total["missing"][0]


def test_sums_by_everything_over_months(priced: Api) -> None:
    april = {"started_at": T + 31 * 24 * HOUR, "ended_at": T + 31 * 24 * HOUR + HOUR}
    ended(priced, job(1), job(2, rule="plot"), owner="ada", workflow="w1")
    ended(priced, job(1), job(2, **april), owner="bob", workflow="w2")
    newest = ended(priced, job(1, resources={}), owner="bob", workflow="w1", target="cloud")
    months = {"since": "2026-01", "until": "2026-12"}

    def sums(by: str, **query: str) -> dict[str, Any]:
        items = priced.get("/cost", by=by, **months, **query)["items"]
        return {item["key"]: (item["cost"]["vcpu_hours"], item["cost"]["amount"]) for item in items}

    assert sums("owner") == {"ada": (2, "1.50"), "bob": (3, "6.00")}
    assert sums("month") == {"2026-04": (1, "5.25"), "2026-03": (4, "2.25")}
    assert sums("workflow") == {"w1": (3, "1.50"), "w2": (2, "6.00")}
    assert sums("target") == {"cloud": (1, None), "local": (4, "7.50")}
    assert sums("rule") == {"fit": (4, "6.75"), "plot": (1, "0.75")}
    assert next(iter(sums("run"))) == newest.id
    assert sums("owner", workflow="w1", target="local") == {"ada": (2, "1.50")}
    assert sums("rule", owner="bob") == {"fit": (3, "6.00")}
    found = priced.get("/cost", by="owner", **months)
    assert (found["total"]["amount"], found["total"]["vcpu_hours"], found["total"]["jobs"]) == ("7.50", 5, 5)
    assert found["total"]["missing"] == [
        "the prices have none for target cloud in 2026-03",
        "the memory of 1 job is not known: neither given nor asked for",
    ]
    assert priced.get("/cost", since="2026-04", until="2026-04")["total"]["jobs"] == 1
    assert priced.get("/cost", since="2026-05", until="2026-12")["items"] == []


@pytest.mark.parametrize("by", GroupBy)
def test_pages_hold_every_group_once(by: GroupBy, api: Api) -> None:
    for number in range(3):
        times = {"started_at": T, "ended_at": T + number * 31 * 24 * HOUR}
        names = {"owner": f"o{number}", "workflow": f"w{number}", "target": f"t{number}"}
        ended(api, job(1, rule=f"r{number}" if number else "", **times), **names)
    query: dict[str, Any] = {"by": by.value, "since": "2026-01", "until": "2026-12"}
    whole = api.get("/cost", **query)
    keys, cursor = [], {}
    while True:
        page = api.get("/cost", **query, limit=1, **cursor)
        assert page["total"] == whole["total"]
        keys += [item["key"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(keys) == 3
    assert keys == [item["key"] for item in whole["items"]]
    assert keys == sorted(keys, reverse=by in {GroupBy.MONTH, GroupBy.RUN})


@pytest.mark.parametrize(
    "query",
    [
        {"since": "2026-02", "until": "2026-01"},
        {"since": "2020-01", "until": "2026-01"},
        {"since": "2026-13"},
        {"until": "march"},
        {"by": "shoe size"},
    ],
)
def test_questions_without_an_answer_are_refused(query: dict[str, str], sqlite_api: Api) -> None:
    sqlite_api.refused("GET", "/cost", "invalid_request", params=query)
    sqlite_api.refused("GET", "/cost", "invalid_cursor", params={"cursor": "%"})


def test_a_month_to_come_is_a_question_with_an_empty_answer(sqlite_api: Api) -> None:
    found = sqlite_api.get("/cost", since="9999-01")
    assert (found["since"], found["until"], found["items"]) == ("9999-01", "9999-01", [])


def test_everybody_sees_ones_own_and_administrators_all(priced: Api) -> None:
    run = ended(priced, job(), owner="ada")
    ended(priced, job(), owner="bob")
    months = UsageFilter("2026-03", "2026-03")

    def owners(user: User, where: UsageFilter = months) -> list[str]:
        return [key for key, _ in priced.reads.costs.summed(user, where, GroupBy.OWNER, None, 10).items]

    assert owners(User("root", admin=True)) == ["ada", "bob"]
    assert owners(User("root", admin=True), UsageFilter("2026-03", "2026-03", "bob")) == ["bob"]
    assert owners(User("ada")) == owners(User("ada"), UsageFilter("2026-03", "2026-03", "bob")) == ["ada"]
    assert owners(User("eve")) == []
    with pytest.raises(RunNotFound):
        priced.reads.costs.run(User("bob"), run.id, None)


def test_the_cost_of_a_removed_run_still_counts(priced: Api) -> None:
    run = ended(priced, job())
    before = priced.get("/cost", since="2026-03", until="2026-03")
    assert priced.request("DELETE", f"/runs/{run.id}").status_code == 204
    assert priced.get("/cost", since="2026-03", until="2026-03") == before
    assert before["total"]["amount"] == "0.75"


def test_closing_the_books_counts_again_what_they_said_and_nothing_twice(priced: Api) -> None:
    run, row = hold(priced, job(1, local=False, external_id="7"), job(2), target="slurm")
    finish(priced, row, books_until=now() - timedelta(seconds=1))
    found = priced.get(f"/runs/{run.id}/cost")
    assert (found["provisional"], found["total"]["vcpu_hours"]) == (True, 2.0)
    booked = Scheduled(
        "COMPLETED", started_at=T, ended_at=T + 3 * HOUR, succeeded=True, cpus=4, mem_mb=2048.0, final=True
    )
    books = Books(priced.store, Catalog(priced.settings), priced.settings)
    books.note(row, {"7": booked})
    assert priced.get(f"/runs/{run.id}/cost")["total"]["vcpu_hours"] == 2.0
    books.close([priced.newest(run)])
    found = priced.get(f"/runs/{run.id}/cost")
    # What snakemake ran by itself was not on the cluster.
    assert (found["provisional"], found["total"]["vcpu_hours"], found["total"]["amount"]) == (False, 13.0, "1.95")
    stored = rows(priced)
    assert [(each["target"], each["cpu_ms"]) for each in stored] == [("local", 3_600_000), ("slurm", 43_200_000)]
    books.close([priced.newest(run)])
    assert rows(priced) == stored


def test_a_dry_run_uses_nothing(api: Api) -> None:
    run, row = hold(api, job(), dry_run=True)
    finish(api, row)
    assert rows(api) == []
    assert api.get(f"/runs/{run.id}/cost")["total"]["jobs"] == 0


def test_what_hostile_events_claim_breaks_no_sum(priced: Api) -> None:
    for number in range(3):
        huge = {"threads": 2**31 - 1, "started_at": -1e10, "ended_at": T, "resources": {"mem_mb": 2**62}}
        ended(priced, *(job(each, rule=f"r{each}", **huge) for each in range(600)), workflow=f"w{number}")
    total = priced.get("/cost", since="2026-03", until="2026-03")["total"]
    assert total["jobs"] == 1800
    assert total["vcpu_hours"] > 10**9


spans = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 64), st.sampled_from(["a", "b"]))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=st.lists(spans, max_size=6), times=st.integers(1, 3))
def test_counting_again_changes_nothing(store: Store, known: list[tuple[int, int, int, str]], times: int) -> None:
    run = RunRow(id=ids.new_id(), owner="ada", workflow="w", digest="sha256:0", target="local", created_at=now())
    row = AttemptRow(
        id=ids.new_id(), run_id=run.id, number=1, owner="ada", target="local", digest="sha256:0", created_at=now()
    )
    made = [
        job(number, rule=rule, threads=cpus, started_at=T + begin, ended_at=T + begin + took)
        for number, (begin, took, cpus, rule) in enumerate(known)
    ]
    with store.write() as tx:
        runs.add(tx, run)
        row.ended_at = now()
        attempts.add(tx, row)
        jobs.save(tx, run.id, row.id, made)
    seen = []
    for _ in range(times + 1):
        with store.write() as tx:
            current = attempts.get(tx, row.id)
            assert current is not None
            usage.recount(tx, current)
        with store.read() as tx:
            seen.append(usage.of_run(tx, run.id))
    assert all(each == seen[0] for each in seen)
    shares = seen[0].get(row.id, {})
    assert sum(each.cpu_ms for each in shares.values()) == sum(took * cpus * 1000 for _, took, cpus, _ in known)
    assert sum(each.jobs for each in shares.values()) == len(known)
