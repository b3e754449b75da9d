"""The command that shows what webhooks were told about a run."""

from typing import TYPE_CHECKING

from snakeway.cli import options, output, times
from snakeway.cli.connect import connect, run_id
from snakeway.cli.output import Column

if TYPE_CHECKING:
    from snakeway.client import Delivery

_COLUMNS: list[Column["Delivery"]] = [
    Column("TYPE", lambda delivery: delivery["type"], whole=True),
    Column("STATE", lambda delivery: delivery["state"], state=True),
    Column("URL", lambda delivery: delivery["url"]),
    Column("TRIES", lambda delivery: delivery["try_count"], right=True),
    Column("ANSWER", lambda delivery: _answer(delivery)),
    Column(
        "CREATED",
        lambda delivery: delivery["created_at"],
        lambda delivery: times.ago(delivery["created_at"]),
        whole=True,
    ),
    Column(
        "NEXT TRY",
        lambda delivery: delivery["next_try_at"],
        lambda delivery: times.local(delivery["next_try_at"]),
        whole=True,
    ),
]
_PLAIN: list[Column["Delivery"]] = [Column("ID", lambda delivery: delivery["id"]), *_COLUMNS]


def deliveries(run: options.RunArgument, as_json: options.Json = False) -> None:
    """List the notifications about a run, and what became of them.

    Oldest first. When the output is not a terminal, the columns are: id, type, state, address, tries, last answer,
    created, next try.
    """
    with connect() as client:
        found = client.deliveries(run_id(client, run))
        if as_json:
            output.document(list(found))
        else:
            columns = _COLUMNS if output.is_terminal() else _PLAIN
            output.table(columns, found, empty="No webhook was to be told about this run.")


def _answer(delivery: "Delivery") -> str:
    if not delivery["tries"]:
        return ""
    last = delivery["tries"][-1]
    return last["error"] or str(last["status"])
