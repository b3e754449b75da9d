"""The command that shows one run: what was asked for, and side by side what each attempt did."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakeway.cli import follow, options, output, times
from snakeway.cli.connect import connect, find_run, short
from snakeway.cli.cost import words
from snakeway.cli.cure import cure, hint_at_gates, hint_at_names, hint_at_rerun
from snakeway.errors import SnakewayError

if TYPE_CHECKING:
    from snakeway.client import Attempt, Client, Run, RunInput

_COLUMN_WIDTH = 30  # of an attempt; as many of the newest are shown as fit beside each other
_HEADING_WIDTH = 14


def show(
    run: options.RunArgument,
    watch: Annotated[
        bool, typer.Option("--follow", "-f", help="Watch the run until it ends; the exit code is the run's.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show a run and its attempts, side by side.

    What each attempt executed, why, how it ended, and the error.

    When the output is not a terminal, each line is a name and a value; lines that begin with "attempt" have the
    columns: number, state, reason, target, jobs done/total, failed jobs, exit code, created, ended, error, jobs of each
    rule.
    """
    with connect() as client:
        found = find_run(client, run)
        if watch:
            after = None
            with suppress(SnakewayError):  # the same trouble is told by what follows
                before = client.attempts(found["id"])[:-1]
                after = f"{before[-1]['number'] + 1}:0" if before else None  # the attempts before are history
            raise typer.Exit(follow.follow(client, found, after=after, as_json=as_json))
        attempts = client.attempts(found["id"])
        executed = {attempt["number"]: _executed(client, attempt) for attempt in attempts} if not as_json else {}
        cost = client.run_cost(found["id"]) if attempts and not as_json else None
    if as_json:
        output.document({**found, "attempts": attempts})
        return
    output.facts([*_facts(found), ("cost", words(cost["total"]) if cost and cost["total"]["jobs"] else None)])
    if output.is_terminal():
        output.write("\n")
        _side_by_side(attempts, executed)
        _hints(found, attempts)
    else:
        for attempt in attempts:
            output.line("attempt", *_fields(attempt), executed[attempt["number"]])


def _facts(run: "Run") -> Iterator[tuple[str, Any]]:
    jobs = run["jobs"]
    yield "run", run["id"]
    yield "state", run["state"]
    if run["stop_requested_at"]:
        yield (
            "stop asked for",
            times.local(run["stop_requested_at"]) if output.is_terminal() else run["stop_requested_at"],
        )
    yield "error", run["error"]
    yield "workflow", run["workflow"]
    people = output.is_terminal()
    yield "source", _source(run["source"])
    yield "digest", run["digest"]
    yield "target", run["target"]
    yield "owner", run["owner"]
    yield "config", " ".join(_settings(run["config"])) if people else run["config"]
    if run["inputs"]:
        yield "inputs", _inputs(run["inputs"]) if people else run["inputs"]
    yield "labels", _words(run["labels"]) if people else run["labels"]
    yield "note", run["note"]
    yield "dry run", run["dry_run"] or None
    yield "jobs", f"{jobs['done']} of {jobs['total']} done, {jobs['failed']} failed"
    for name in ("created", "started", "ended"):
        moment = run[f"{name}_at"]  # type: ignore[literal-required]
        yield name, times.local(moment) if output.is_terminal() else moment
    yield "trace", run["trace_id"]


def _words(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={output.clean(value)}" for key, value in sorted(values.items()))


def _inputs(inputs: Sequence["RunInput"]) -> str:
    return ", ".join(f"{each['path']} ({times.size(each['size_bytes'])})" for each in inputs)


def _source(source: Mapping[str, Any]) -> str:
    if source.get("kind") == "outside":
        return f"by hand: {source.get('user')} on {source.get('host')}, in {source.get('directory')}"
    if source.get("kind") == "bundle":
        return f"sent as {source.get('name')}"
    if source.get("kind") != "git":
        return ""  # from the catalog, by the name above
    folder = f", folder {source['path']}" if source.get("path") else ""
    return f"{source['url']} at {source['ref']}, commit {source['commit']}{folder}"


def _fields(attempt: "Attempt") -> list[Any]:
    jobs = attempt["jobs"]
    return [
        attempt["number"],
        attempt["state"],
        _why(attempt),
        attempt["target"],
        f"{jobs['done']}/{jobs['total']}",
        jobs["failed"],
        attempt["exit_code"],
        attempt["created_at"],
        attempt["ended_at"],
        attempt["error"],
    ]


def _side_by_side(attempts: "list[Attempt]", executed: Mapping[int, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = output.console()
    fitting = max(1, (console.width - _HEADING_WIDTH) // _COLUMN_WIDTH)
    shown = attempts[-fitting:]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("ATTEMPT", style="bold", no_wrap=True)
    for attempt in shown:
        table.add_column(str(attempt["number"]), overflow="fold", ratio=1)
    before = dict(zip((attempt["number"] for attempt in attempts[1:]), attempts, strict=False))
    cells = [dict(describe(attempt, before.get(attempt["number"]), executed[attempt["number"]])) for attempt in shown]
    for name in dict.fromkeys(name for cell in cells for name in cell):
        texts = [output.clean(cell.get(name)) for cell in cells]
        if any(texts):
            table.add_row(
                name, *(Text(text, style=output.state_style(text) if name == "state" else "") for text in texts)
            )
    console.print(table)
    if len(shown) < len(attempts):
        output.hint(f"Attempts before these: {len(attempts) - len(shown)}; they need a wider window, or --json.")


def describe(attempt: "Attempt", before: "Attempt | None", executed: str) -> Iterator[tuple[str, str]]:
    """Yield what is to be known of an attempt; ``before`` is the one whose differences are of interest."""
    yield "state", "paused" if attempt["gates_only"] else attempt["state"]
    yield "why", _why(attempt)
    yield "target", attempt["target"]
    yield "image", attempt["image"] or ""
    yield "executed", executed
    yield "changed", "; ".join(_changes(attempt, before)) if before else ""
    yield "options", ", ".join(f"{name}={output.clean(value)}" for name, value in attempt["overrides"].items() if value)
    jobs = attempt["jobs"]
    yield "jobs", f"{jobs['done']} of {jobs['total']} done" + (f", {jobs['failed']} failed" if jobs["failed"] else "")
    yield "started", times.local(attempt["started_at"])
    yield "took", times.took(attempt)
    yield "exit", _exit(attempt)
    yield "error", attempt["error"] or ""
    yield "cure", cure(attempt)
    yield "host", attempt["host"] or ""
    yield "snakemake", attempt["snakemake_version"] or ""
    yield "events lost", str(attempt["events_lost"] or "")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration with dotted keys instead of objects in objects."""
    result: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            result.update(flat(value, f"{prefix}{key}."))
        else:
            result[f"{prefix}{key}"] = value
    return result


def _settings(config: Mapping[str, Any]) -> list[str]:
    return [_setting(key, value) for key, value in sorted(flat(config).items())]


def _setting(key: str, value: Any) -> str:
    """Return a value of a configuration in a few words, like ``--config`` but for quotes."""
    return f"{key}={json.dumps(value) if value is None or isinstance(value, bool) else output.clean(value)}"


def _changes(attempt: "Attempt", before: "Attempt") -> Iterator[str]:
    if attempt["digest"] != before["digest"]:
        yield "the workflow"
    old, new = flat(before["config"]), flat(attempt["config"])
    for key in sorted(old.keys() | new.keys()):
        if key not in new:
            yield f"no {key}"
        elif key not in old or old[key] != new[key]:
            yield _setting(key, new[key])


def _why(attempt: "Attempt") -> str:
    return f"{attempt['reason']}, dry run" if attempt["dry_run"] else attempt["reason"]


def _executed(client: "Client", attempt: "Attempt") -> str:
    if attempt["dry_run"]:
        counts = attempt["plan"]["by_rule"] if attempt["plan"] else {}
    else:
        rules = client.rules(attempt["run_id"], attempt=attempt["number"])
        counts = {rule["rule"]: sum(rule["states"].values()) for rule in rules}
    return ", ".join(f"{rule} ({count})" for rule, count in counts.items())


def _exit(attempt: "Attempt") -> str:
    if attempt["exit_signal"] is not None:
        return f"signal {attempt['exit_signal']}"
    return "" if attempt["exit_code"] is None else f"code {attempt['exit_code']}"


def _hints(run: "Run", attempts: "list[Attempt]") -> None:
    name = short(run["id"])
    if run["state"] == "failed":
        lost = bool(attempts) and attempts[-1]["state"] == "lost" and attempts[-1]["jobs"]["total"] > 0
        output.hint("")
        if run["jobs"]["failed"] or lost:
            output.hint(f"snakeway jobs {name} --failed    what failed")
        if not run["outside"]:
            hint_at_rerun(run, attempts)
    elif run["state"] == "paused":
        output.write("\n")
        hint_at_gates(name)
    elif run["state"] in {"queued", "running"}:
        output.hint(f"\nsnakeway show {name} --follow    watch it")
    if attempts:
        hint_at_names(attempts[-1])
