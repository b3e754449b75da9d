"""The command that shows what runs cost."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from snakeway.cli import complete, options, output
from snakeway.cli.connect import connect, run_id, short
from snakeway.cli.output import Column
from snakeway.errors import Invalid
from snakeway.model.usage import GroupBy

if TYPE_CHECKING:
    from snakeway.client import Cost
    from snakeway.client.nouns import CostFilter

    Line = tuple[str, Cost]

_SMALLEST = Decimal("0.0001")
_ONE = Decimal(1)
_LEAST_HOURS = 0.0001
_MONTH = re.compile(r"[1-9]\d{3}-(0[1-9]|1[0-2])", re.ASCII)


def cost(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="Id of the run, the end of it (4 characters or more), or 'last'; without one, sums over runs.",
            autocompletion=complete.runs,
            show_default=False,
        ),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, metavar="N", help="Of RUN: only this attempt; by default all.")
    ] = None,
    by: Annotated[GroupBy | None, typer.Option("--by", help="What to sum by; owner, if nothing is named.")] = None,
    month: Annotated[
        str | None, typer.Option("--month", metavar="YYYY-MM", help="Sums of this month; by default the present one.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="YYYY-MM", help="Sums from this month up to now, or to --month.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="USER", help="Only runs of this user. For administrators.")
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow", "-w", metavar="NAME", help="Only runs of this workflow.", autocompletion=complete.workflows
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", metavar="NAME", help="Only jobs there.", autocompletion=complete.targets),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show what runs used, and an estimate of what it cost.

    Of a run, by rule: processors and GiB of memory times the hours of every try of its jobs, and what that comes to at
    the prices of the server's settings. Without a run: sums over all runs whose attempts have ended, removed ones too,
    in a month (UTC). Administrators see everybody's. Amounts are estimates, never those of a bill. When the output is
    not a terminal, the columns are: rule (or what was summed by), jobs, vCPU-hours, GiB-hours, amount, currency, and
    the word "estimated" where there is an amount.
    """
    if run is not None:
        _refuse({"--by": by, "--month": month, "--since": since, "--owner": owner}, "is about many runs; leave out RUN")
        _refuse({"--workflow": workflow, "--target": target}, "is about many runs; leave out RUN")
        _of_run(run, attempt, as_json=as_json)
        return
    _refuse({"--attempt": attempt}, "needs a RUN")
    for option, value in (("--month", month), ("--since", since)):
        if value is not None and _MONTH.fullmatch(value) is None:
            raise Invalid(f"{value!r} is no month; write it like 2026-11", field=option)
    where: CostFilter = {"by": by or GroupBy.OWNER, "owner": owner, "workflow": workflow, "target": target}
    where["since"], where["until"] = since or month, month
    with connect() as client:
        found = client.costs(**where)
    if as_json:
        output.document(found)
        return
    lines = [(item["key"], item["cost"]) for item in found["items"]]
    output.table(list(_columns(found["by"])), lines, empty="No attempt has ended in that time.")
    period = found["since"] if found["since"] == found["until"] else f"{found['since']} to {found['until']}"
    _in_all(f"{period}, in all", found["total"])
    if found["active_runs"]:
        output.hint(f"runs that have not ended: {found['active_runs']}; their last attempts do not count yet")


def words(cost: "Cost") -> str:
    """Return a cost in a few words; where there is no price, the hours alone."""
    amount = money(cost)
    hours = f"{_hours(cost['vcpu_hours'])} vCPU-hours, {_hours(cost['gib_hours'])} GiB-hours"
    return f"{amount} {cost['currency']} (estimated), {hours}" if amount else hours


def money(cost: "Cost") -> str:
    """Return an amount for people: hundredths, or ten-thousandths of what is less than one; empty for none."""
    if cost["amount"] is None:
        return ""
    amount = Decimal(cost["amount"])
    if 0 < amount < _SMALLEST:
        return f"<{_SMALLEST}"
    return f"{amount:.2f}" if amount >= _ONE or not amount else f"{amount:.4f}"


def _of_run(run: str, attempt: int | None, *, as_json: bool) -> None:
    with connect() as client:
        found = client.run_cost(run_id(client, run), attempt=attempt)
    if as_json:
        output.document(found)
        return
    lines = [(rule["rule"], rule["cost"]) for rule in found["rules"]]
    output.table(list(_columns("rule")), lines, empty="No job of it has run yet.")
    _in_all("in all", found["total"])
    if found["provisional"]:
        output.hint("provisional: something runs still, or the scheduler is still asked how long it ran")


def _columns(by: str) -> Iterator[Column["Line"]]:
    shown = (lambda line: short(line[0])) if by == "run" else None
    yield Column(by.upper(), lambda line: line[0], shown)
    yield Column("JOBS", lambda line: line[1]["jobs"], right=True)
    yield Column("VCPU HOURS", lambda line: line[1]["vcpu_hours"], lambda line: _hours(line[1]["vcpu_hours"]), True)
    yield Column("GIB HOURS", lambda line: line[1]["gib_hours"], lambda line: _hours(line[1]["gib_hours"]), True)
    yield Column("COST", lambda line: line[1]["amount"], lambda line: money(line[1]), right=True)
    yield Column("", lambda line: line[1]["currency"] if line[1]["amount"] is not None else None)
    yield Column("", lambda line: "estimated" if line[1]["amount"] is not None else None)


def _hours(number: float) -> str:
    if 0 < number < _LEAST_HOURS:
        return f"<{_LEAST_HOURS}"
    return f"{number:,.2f}" if number >= 1 or not number else f"{number:.4f}"


def _in_all(heading: str, total: "Cost") -> None:
    output.hint(f"{heading}: {words(total)}")
    for reason in total["missing"]:
        output.hint(f"not in the amount: {reason}" if total["amount"] is not None else reason)


def _refuse(given: dict[str, object], why: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise Invalid(f"{name} {why}", field=name)
