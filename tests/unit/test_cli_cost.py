"""The command that shows what runs cost, against a stand-in server."""

import json

import pytest

from tests.unit.test_cli_stand_in import Call
from tests.unit.test_client_nouns import OTHER_ID, RUN_ID, cost, costs, run_cost
from tests.unit.test_client_stand_in import StandIn, reply

pytest_plugins = ("tests.unit.test_cli_stand_in",)

PATH = f"/runs/{RUN_ID}/cost"
WITHOUT_PRICE = {"amount": None, "currency": None, "kinds": [], "missing": ["there are no prices"]}


class TestOfOneRun:
    def test_lines(self, server: StandIn, call: Call) -> None:
        server.on("GET", PATH, reply(run_cost(provisional=True)))
        code, out, err = call("cost", RUN_ID)
        assert (code, out) == (0, "fit\t3\t2.5\t10.0\t0.0625\tEUR\testimated\n")
        assert "in all: 0.0625 EUR (estimated), 2.50 vCPU-hours, 10.00 GiB-hours" in err
        assert "provisional" in err

    def test_without_prices_there_are_hours_and_a_reason(self, server: StandIn, call: Call) -> None:
        bare = cost(**WITHOUT_PRICE)
        server.on("GET", PATH, reply(run_cost(total=bare, rules=[{"rule": "fit", "cost": bare}])))
        code, out, err = call("cost", RUN_ID)
        assert (code, out) == (0, "fit\t3\t2.5\t10.0\t\t\t\n")
        assert err == "in all: 2.50 vCPU-hours, 10.00 GiB-hours\nthere are no prices\n"

    def test_what_an_amount_leaves_out_is_said(self, server: StandIn, call: Call) -> None:
        server.on("GET", PATH, reply(run_cost(total=cost(missing=["the memory of 1 job is not known"]))))
        assert "not in the amount: the memory of 1 job is not known\n" in call("cost", RUN_ID)[2]

    @pytest.mark.parametrize(
        ("amount", "shown"),
        [("0.00", "0.00"), ("0.000001", "<0.0001"), ("0.0625", "0.0625"), ("1234.5678", "1234.57"), ("1.00", "1.00")],
    )
    def test_table(self, amount: str, shown: str, server: StandIn, call: Call, terminal: None) -> None:
        rules = [{"rule": "fit", "cost": cost(amount=amount, vcpu_hours=1234.567)}]
        server.on("GET", PATH, reply(run_cost(rules=rules)))
        heading, line = call("cost", RUN_ID)[1].splitlines()
        assert heading.split() == ["RULE", "JOBS", "VCPU", "HOURS", "GIB", "HOURS", "COST"]
        assert line.split() == ["fit", "3", "1,234.57", "10.00", shown, "EUR", "estimated"]

    def test_json_and_an_attempt(self, server: StandIn, call: Call) -> None:
        server.on("GET", PATH, reply(run_cost()))
        assert json.loads(call("cost", RUN_ID, "--attempt", "2", "--json")[1]) == run_cost()
        assert server.requests[0].query == [("attempt", "2")]


class TestOfManyRuns:
    def test_lines(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/cost", reply(costs(active_runs=2)))
        code, out, err = call("cost")
        assert (code, out) == (0, "ada\t3\t2.5\t10.0\t0.0625\tEUR\testimated\n")
        assert err.splitlines()[0].startswith("2026-03, in all: 0.0625 EUR (estimated)")
        assert "runs that have not ended: 2" in err
        assert sorted(server.requests[0].query) == [("by", "owner"), ("limit", "200")]

    def test_every_page_of_the_same_months(self, server: StandIn, call: Call) -> None:
        second = costs(items=[{"key": "bob", "cost": cost()}])
        server.on("GET", "/cost", reply(costs(next="c")), reply(second))
        found = json.loads(call("cost", "--json")[1])
        assert [item["key"] for item in found["items"]] == ["ada", "bob"]
        assert {("since", "2026-03"), ("until", "2026-03"), ("cursor", "c")} <= set(server.requests[1].query)

    def test_filters(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/cost", reply(costs()))
        words = "--by month --since 2026-01 --month 2026-03 --owner me -w w -t t"
        assert call("cost", *words.split())[0] == 0
        assert sorted(server.requests[0].query) == [
            ("by", "month"),
            ("limit", "200"),
            ("owner", "me"),
            ("since", "2026-01"),
            ("target", "t"),
            ("until", "2026-03"),
            ("workflow", "w"),
        ]

    @pytest.mark.parametrize(
        ("options", "months"),
        [
            (["--month", "2026-02"], {("since", "2026-02"), ("until", "2026-02")}),
            (["--since", "2026-02"], {("since", "2026-02")}),
        ],
    )
    def test_months(self, options: list[str], months: set[tuple[str, str]], server: StandIn, call: Call) -> None:
        server.on("GET", "/cost", reply(costs()))
        assert call("cost", *options)[0] == 0
        assert {pair for pair in server.requests[0].query if pair[0] in {"since", "until"}} == months

    def test_runs_have_short_names_in_tables(self, server: StandIn, call: Call, terminal: None) -> None:
        items = [{"key": OTHER_ID, "cost": cost()}]
        server.on("GET", "/cost", reply(costs(by="run", items=items, since="2026-01")))
        _, out, err = call("cost", "--by", "run")
        assert out.splitlines()[1].split()[0] == OTHER_ID[-8:]
        assert err.startswith("2026-01 to 2026-03, in all:")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ((RUN_ID, "--by", "rule"), "--by"),
        ((RUN_ID, "--month", "2026-01"), "--month"),
        ((RUN_ID, "--target", "slurm"), "--target"),
        (("--attempt", "1"), "--attempt"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: tuple[str, ...], field: str, server: StandIn, call: Call
) -> None:
    code, out, err = call("cost", *words)
    assert (code, out) == (2, "")
    assert field in err
    assert server.requests == []
