"""Commands that make snakemake run: submit a run, re-run one."""

import difflib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakeway.cli import complete, follow, inputs, options, output, values
from snakeway.cli.connect import connect, find_run, short
from snakeway.cli.cure import hint_at_names
from snakeway.cli.failures import FAILED
from snakeway.cli.output import Column
from snakeway.errors import Invalid, InvalidTarget, InvalidWorkflow, TargetNotFound, WorkflowNotFound
from snakeway.model.attempt import ENDED

if TYPE_CHECKING:
    from snakeway.client import Attempt, Client, Overrides, Rerun, Run, Submission

_PLAN_PAUSE_S = 0.5
_PLAN_WAIT_S = 300
_REASONS = 3

Targets = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TARGETS]...", help="Rules or files to make instead of the workflow's default, after --."),
]


def submit(
    workflow: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORKFLOW]",
            help="Name of a workflow; see 'snakeway workflows'. Or, with a slash in it, its folder on this machine.",
            autocompletion=complete.workflows,
        ),
    ] = None,
    targets: Targets = None,
    git: Annotated[
        str | None, typer.Option("--git", metavar="URL", help="Take the workflow from this git repository.")
    ] = None,
    ref: Annotated[
        str | None, typer.Option("--ref", metavar="REF", help="Branch, tag or commit of the repository.")
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", metavar="DIR", help="Folder of the workflow in the repository.")
    ] = None,
    config: options.Config = None,
    configfile: options.ConfigFile = None,
    input_: options.InputOption = None,
    target: options.TargetOption = None,
    set_resources: options.SetResources = None,
    set_threads: options.SetThreads = None,
    until: options.Until = None,
    forcerun: options.ForceRun = None,
    forceall: options.ForceAll = False,
    image: options.Image = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="Label of the run. Can be repeated.")
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Note about the run.")] = "",
    webhook: Annotated[
        list[str] | None,
        typer.Option(
            "--webhook",
            metavar="URL",
            help="Address that is told of the run, if the server allows it. Can be repeated.",
        ),
    ] = None,
    dry_run: options.DryRun = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="A second submission with this key returns the first one's run."
        ),
    ] = None,
    watch: options.Follow = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Submit a run of a workflow.

    snakeway submit WORKFLOW -c KEY=VALUE -- TARGETS. WORKFLOW may be a folder, such as ./my-workflow: it is sent to the
    server. Prints the run's id: nothing else goes to stdout when that is not a terminal.
    """
    source, targets = _source(workflow, targets or [], git, ref, path)
    body: Submission = {
        "target": target or "local",
        "config": _config(config, configfile, {}),
        **_overrides(set_resources, set_threads, targets, until, forcerun, forceall, image),  # type: ignore[typeddict-item]
        "labels": values.labels(label or []),
        "note": note,
        "dry_run": dry_run,
    }
    if webhook:
        body["webhooks"] = webhook
    files = inputs.pairs(input_ or [])
    with connect() as client, _folder_meant(source):
        if files and idempotency_key is None:  # with a key, a run that is there counts, whatever has become of these
            _check_names(client, source, body["target"])
        body["workflow"] = _sent(client, source) if isinstance(source, Path) else source
        if files:
            uploaded = inputs.sent_for(client, files, shown=not quiet and not as_json)
            body["config"] = values.merge(body["config"], uploaded, field="--input")
        run = client.submit(body, idempotency_key=idempotency_key, traceparent=os.environ.get("TRACEPARENT"))
        _announce(run, watch=watch, quiet=quiet, as_json=as_json)
        if watch:
            raise typer.Exit(follow.follow(client, run, as_json=as_json, quiet=quiet, beside_result=True))


def rerun(
    run: options.RunArgument,
    targets: Targets = None,
    config: options.Config = None,
    configfile: options.ConfigFile = None,
    target: options.TargetOption = None,
    set_resources: options.SetResources = None,
    set_threads: options.SetThreads = None,
    until: options.Until = None,
    forcerun: options.ForceRun = None,
    forceall: options.ForceAll = False,
    image: options.Image = None,
    apply_suggestions: Annotated[
        bool,
        typer.Option(
            "--apply-suggestions",
            help="Give the failed jobs what they lacked; 'snakeway show' tells what. Options beside it win.",
        ),
    ] = False,
    update_workflow: Annotated[
        bool,
        typer.Option("--update-workflow", help="Use the workflow as it is now, not as it was when the run was made."),
    ] = False,
    dry_run: options.DryRun = False,
    watch: options.Follow = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Run an ended run again: what is missing or out of date.

    Snakemake starts in the run's own directory and executes nothing else. Configuration given here changes the run's:
    what is not named stays as it is. Prints the plan. When the output is not a terminal, the columns are: rule,
    number of jobs, reasons.
    """
    changes = _overrides(set_resources, set_threads, targets or [], until, forcerun, forceall, image)
    with connect() as client:
        found = find_run(client, run)
        body: Rerun = {
            **changes,  # type: ignore[typeddict-item]
            "apply_suggestions": apply_suggestions,
            "update_workflow": update_workflow,
            "dry_run": dry_run,
        }
        if config or configfile:
            body["config"] = _config(config, configfile, found["config"])
        if target:
            body["target"] = target
        answer = client.rerun(found["id"], body)
        attempt = _planned(client, answer["attempt"]) if dry_run else answer["attempt"]
        watch = watch and not dry_run  # the plan is all that a dry run has to show
        if as_json and not watch:
            output.document({"run": answer["run"], "attempt": attempt})
        elif not as_json and not (quiet and attempt["plan"]):
            show_plan(attempt)
        if dry_run and attempt["plan"] is None:
            raise typer.Exit(FAILED)  # what was asked for is not there
        if watch:
            after = f"{attempt['number']}:0"  # the attempts before are history
            code = follow.follow(client, answer["run"], after=after, as_json=as_json, quiet=quiet, beside_result=True)
            raise typer.Exit(code)


def show_plan(attempt: "Attempt") -> None:
    """Print what an attempt is expected to execute: the jobs of each rule, and why."""
    plan = attempt["plan"]
    if plan is None:
        why = attempt["error"] or f"'snakeway show {short(attempt['run_id'])}' shows how the attempt goes"
        output.hint(f"The plan of attempt {attempt['number']} is not known: {output.clean(why)}")
        return
    reasons: dict[str, Counter[str]] = {rule: Counter() for rule in plan["by_rule"]}
    for job in plan["jobs"]:
        reasons.setdefault(job["rule"], Counter())[job["reason"] or "no reason told"] += 1
    columns: list[Column[str]] = [
        Column("RULE", str),
        Column("JOBS", lambda rule: plan["by_rule"].get(rule, 0), right=True),
        Column("WHY", lambda rule: _why(reasons[rule])),
    ]
    output.table(columns, reasons, empty="Nothing to be done: every output is there and up to date.")
    hint_at_names(attempt)
    if output.is_terminal() and plan["total"]:
        verb = "would execute" if attempt["dry_run"] else "executes"
        output.hint(f"\nAttempt {attempt['number']} {verb} {plan['total']} jobs.")


def _why(reasons: Counter[str]) -> str:
    if len(reasons) > 1:  # they differ in the names of files: tell them by kind
        kinds: Counter[str] = Counter()
        for reason, count in reasons.items():
            kinds["; ".join(part.partition(": ")[0] for part in reason.split("; "))] += count
        reasons = kinds
    shown = [f"{reason} ({count} jobs)" if count > 1 else reason for reason, count in reasons.most_common(_REASONS)]
    rest = len(reasons) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")


def _planned(client: "Client", attempt: "Attempt") -> "Attempt":
    deadline = time.monotonic() + _PLAN_WAIT_S
    while attempt["plan"] is None and attempt["state"] not in ENDED and time.monotonic() < deadline:
        time.sleep(_PLAN_PAUSE_S)
        attempt = client.attempt(attempt["run_id"], attempt["number"])
    return attempt


def _source(
    workflow: str | None, targets: list[str], git: str | None, ref: str | None, path: str | None
) -> tuple[str | dict[str, Any] | Path, list[str]]:
    if git is not None:
        # Without a name of a workflow, the first word is the first target.
        source = {"url": git, "ref": ref, "path": path}
        return {"git": {name: value for name, value in source.items() if value is not None}}, [
            *([workflow] if workflow else []),
            *targets,
        ]
    if workflow is None:
        raise Invalid("name a workflow ('snakeway workflows' lists them), or a repository with --git", field="WORKFLOW")
    if ref is not None or path is not None:
        raise Invalid(
            "--ref and --path say where in a git repository the workflow is; name it with --git", field="--git"
        )
    return (Path(workflow) if "/" in workflow or workflow in (".", "..") else workflow), targets


@contextmanager
def _folder_meant(source: str | dict[str, Any] | Path) -> Iterator[None]:
    """Say so when a workflow that is not known is a folder here."""
    try:
        yield
    except WorkflowNotFound as error:
        if isinstance(source, str) and Path(source).is_dir():
            raise WorkflowNotFound(f"{error.detail}; or did you mean the folder ./{source}?") from None
        raise


def _check_names(client: "Client", source: str | dict[str, Any] | Path, name: str) -> None:
    """Look for the workflow and the target, before files are sent for them, which may take hours."""
    workflow = client.workflow(source) if isinstance(source, str) else None
    if workflow is not None and workflow["error"] is not None:
        raise InvalidWorkflow(f"workflow {source!r}: {workflow['error']}")
    targets = {target["name"]: target for target in client.targets()}
    if name not in targets:
        close = " or ".join(map(repr, difflib.get_close_matches(name, targets)))
        advice = f"did you mean {close}?" if close else "'snakeway targets' lists those there are"
        raise TargetNotFound(f"there is no target {name!r}; {advice}")
    if targets[name]["error"] is not None:
        raise InvalidTarget(f"target {name!r}: {targets[name]['error']}")


def _sent(client: "Client", folder: Path) -> dict[str, Any]:
    """Send a workflow's folder; returns what a submission calls it then."""
    from snakeway.client import pack

    with pack(folder) as archive:
        known = client.add_bundle(archive, folder.resolve().name)
    return {"bundle": {"digest": known["digest"], "name": known["name"]}}


def _config(assignments: list[str] | None, paths: list[Path] | None, base: dict[str, Any]) -> dict[str, Any]:
    for path in paths or []:
        base = values.merge(base, values.config_file(path), field="--configfile")
    return values.merge(base, values.config(assignments or []), field="--config")


def _overrides(
    set_resources: list[str] | None,
    set_threads: list[str] | None,
    targets: list[str],
    until: list[str] | None,
    forcerun: list[str] | None,
    forceall: bool,
    image: str | None,
) -> "Overrides":
    return {
        **({"image": image} if image is not None else {}),
        "set_resources": values.resources(set_resources or []),
        "set_threads": values.threads(set_threads or []),
        "targets": targets,
        "until": until or [],
        "forcerun": forcerun or [],
        "forceall": forceall,
    }


def _announce(run: "Run", *, watch: bool, quiet: bool, as_json: bool) -> None:
    say: Callable[[Any], None] = output.json_line if watch else output.document
    if as_json:
        say({"event": "run", "id": None, "data": run} if watch else run)
        return
    output.line(run["id"])
    if output.is_terminal() and not quiet and not watch:
        name = short(run["id"])
        output.hint(f"\nsnakeway show {name} --follow    watch it\nsnakeway logs {name} --follow    its output")
