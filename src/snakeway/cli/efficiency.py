"""The command that shows how well jobs used what a scheduler gave them."""

from typing import TYPE_CHECKING, Any

from snakeway.cli import options, output
from snakeway.cli.connect import connect, run_id
from snakeway.cli.output import Column

if TYPE_CHECKING:
    from snakeway.client.nouns import RuleEfficiency

_COLUMNS: list[Column["RuleEfficiency"]] = [
    Column("RULE", lambda rule: rule["rule"]),
    Column("JOBS", lambda rule: rule["jobs"], right=True),
    Column("CPUS", lambda rule: rule["cpus"], right=True),
    Column("CPU USED", lambda rule: _percent(rule["cpu_ratio"]), right=True),
    Column("MEM MB", lambda rule: _whole(rule["mem_mb"]), right=True),
    Column("MOST USED", lambda rule: _whole(rule["max_rss_mb"]), right=True),
    Column("MEM USED", lambda rule: _percent(rule["mem_ratio"]), right=True),
    Column("WAITED S", lambda rule: _whole(rule["queue_s"]), right=True),
    Column("TOOK S", lambda rule: _whole(rule["run_s"]), right=True),
    Column("WOULD DO", lambda rule: _words(rule["suggestion"])),
]


def efficiency(run: options.RunArgument, attempt: options.AttemptOption = None, as_json: options.Json = False) -> None:
    """Show what the jobs of a run used of the processors and the memory that a scheduler gave them.

    By rule: the share of processor time, the most memory that one job was seen to use, and the median times in the
    queue and on a node. WOULD DO is what to ask for where half of it would have been enough. Only jobs that
    succeeded on a cluster that keeps books are counted.
    """
    with connect() as client:
        found = client.efficiency(run_id(client, run), attempt=attempt)
    if as_json:
        output.document(found)
        return
    output.table(_COLUMNS, found["rules"], empty="the scheduler has said nothing of this run's jobs")
    if found["rules"]:
        cpu, memory = _percent(found["cpu_ratio"]), _percent(found["mem_ratio"])
        output.hint(f"in all: {cpu or 'unknown'} of the processor time, {memory or 'unknown'} of the memory")


def _words(suggestion: dict[str, Any] | None) -> str:
    told = suggestion or {}
    resources = (
        f"{rule}:{name}={value}"
        for rule, values in told.get("set_resources", {}).items()
        for name, value in values.items()
    )
    threads = (f"threads of {rule}={number}" for rule, number in told.get("set_threads", {}).items())
    return ", ".join((*resources, *threads))


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{100 * ratio:.0f}%"


def _whole(number: float | None) -> str:
    return "" if number is None else f"{number:.0f}"
