"""The command that finds out why something does not work."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakeway.cli import checks, complete, options, output
from snakeway.cli.checks import Finding
from snakeway.cli.connect import connect
from snakeway.cli.failures import FAILED
from snakeway.cli.output import Column
from snakeway.cli.server import read_settings, server_part
from snakeway.errors import Invalid, ServerUnreachable, SnakewayError, StoreOutdated, TargetNotFound

if TYPE_CHECKING:
    from snakeway.settings import Settings

_TIMEOUT_S = 5
_DATABASE_WAIT_S = 3

_COLUMNS: list[Column[Finding]] = [
    Column("", lambda finding: finding.state, state=True),
    Column("CHECK", lambda finding: finding.check),
    Column("FOUND", lambda finding: finding.said),
    Column("WHAT TO DO", lambda finding: finding.advice),
]


def doctor(
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            metavar="NAME",
            help="Look at this target's cluster as well; runs a short job on Slurm.",
            autocompletion=complete.targets,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check this installation, and the server.

    Programs, packages, folders, database, object storage, workflows, targets, prices; the server, if there is one.
    Changes nothing; a small object in the object storage is deleted again. Exits with 1 if a check fails; warnings are
    about what only some need. When the output is not a terminal, the columns are: ok, warn or fail; check; what was
    found; what to do.

    With --target, on a machine from which jobs are submitted, also what a target on Slurm needs: its commands,
    controller, partitions and accounting, and by a job of at most a minute, whether a node sees the data folder and
    Snakemake, has the right time, and has Apptainer. Of a target on AWS Batch: region, credentials and whose they are,
    queue and compute environments, roles, image, log group, and the bucket, in which a small object is written and
    deleted again; no job is run, and no key is shown.
    """
    findings = list(examine(target))
    if as_json:
        output.document([asdict(finding) for finding in findings])
    else:
        output.table(_COLUMNS, findings, empty="")
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(FAILED)


def examine(target: str | None = None) -> Iterator[Finding]:
    """Yield everything that is found. A check that breaks is a finding itself, and the others go on."""
    yield from _safely("python", checks.python)
    yield from _safely("programs", checks.programs)
    yield from _safely("server part", _server_part)
    yield from _safely("opentelemetry", checks.open_telemetry)
    yield from _safely("server", _server)
    if target is not None:
        yield from _safely(f"target {target}", lambda: _target(target))


def _safely(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except SnakewayError as error:
        yield Finding(name, "fail", error.detail)
    except Exception as error:  # noqa: BLE001  a doctor that falls ill itself helps nobody
        yield Finding(name, "fail", f"the check broke: {type(error).__name__}: {error}")


def _server_part() -> Iterator[Finding]:
    try:
        server_part("bootstrap")
    except Invalid as error:
        yield Finding(
            "server part", "warn", "not installed: this machine can only talk to a server elsewhere", error.detail
        )
        return
    yield from _safely("snakemake", checks.snakemake)
    try:
        settings = read_settings()
    except Invalid as error:
        yield Finding("settings", "fail", error.detail, "correct the environment variable")
        return
    yield from _safely("data folder", lambda: checks.data_folder(settings.data_dir))
    yield from _safely("database", lambda: _database(settings))
    yield from _safely("object storage", lambda: _blobs(settings))
    yield from _safely("workflows", lambda: _workflows(settings))
    yield from _safely("targets", lambda: _targets(settings))
    yield from _safely("prices", lambda: _prices(settings))


def _database(settings: "Settings") -> Iterator[Finding]:
    from pathlib import Path

    from sqlalchemy import make_url

    from snakeway.store import Store

    url = make_url(settings.store_url)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        # Looking would make the file.
        yield Finding("database", "ok", f"{shown} will be made by 'snakeway serve'")
        return
    store = Store(settings.store_url, min(settings.database_wait_s, _DATABASE_WAIT_S))
    try:
        store.check()
        yield Finding("database", "ok", f"{shown}, schema is this version's")
    except StoreOutdated as error:
        yield Finding("database", "fail", error.detail, "run 'snakeway migrate'")
    except SnakewayError as error:
        yield Finding(
            "database", "fail", f"{shown}: {error.detail}", "check SNAKEWAY_DATABASE_URL, and that the database runs"
        )
    finally:
        store.close()


def _blobs(settings: "Settings") -> Iterator[Finding]:
    from snakeway import ids
    from snakeway.model.blob import FolderLocation

    where = settings.blobs_location
    if isinstance(where, FolderLocation) and not where.folder.exists():
        yield Finding("object storage", "ok", f"{where} will be made with the first object")
        return
    key, content = f"doctor/{ids.new_id()}", os.urandom(32)
    try:
        blobs = server_part("bootstrap").open_blobs(settings)
        blobs.put(key, content)
        same = blobs.get(key) == content
        blobs.delete(key)
    except SnakewayError as error:
        yield Finding("object storage", "fail", error.detail, "check SNAKEWAY_BLOBS_URL and the credentials for it")
        return
    if same:
        yield Finding("object storage", "ok", f"{where}: an object was written, read and deleted")
    else:
        yield Finding("object storage", "fail", f"{where} gives back another content", "do not use this storage")


def _workflows(settings: "Settings") -> Iterator[Finding]:
    from snakeway.catalog import NO_WORKFLOWS, Catalog

    found = Catalog(settings).workflows()
    good = [workflow.name for workflow in found if workflow.error is None]
    for workflow in found:
        if workflow.error is not None:
            yield Finding(
                f"workflow {workflow.name}", "fail", workflow.error, f"correct it in {settings.workflows_dir}"
            )
    if good:
        yield Finding("workflows", "ok", f"{', '.join(good)} in {settings.workflows_dir}")
    elif not found:
        yield Finding("workflows", "warn", f"none in {settings.workflows_dir}", NO_WORKFLOWS)


def _targets(settings: "Settings") -> Iterator[Finding]:
    from snakeway.catalog import NO_TARGETS, Catalog

    found = Catalog(settings).targets()
    good = [target for target in found if target.error is None]
    for target in found:
        if target.error is not None:
            yield Finding(f"target {target.name}", "fail", target.error, f"correct it in {settings.profiles_dir}")
    for target in good:
        missing = checks.executor(target.name, target.executor)
        if missing is not None:
            yield missing
    if good:
        yield Finding("targets", "ok", f"{', '.join(target.name for target in good)} in {settings.profiles_dir}")
    elif not found:
        yield Finding("targets", "fail", f"none in {settings.profiles_dir}", NO_TARGETS)


def _prices(settings: "Settings") -> Iterator[Finding]:
    if settings.prices_file is None:
        yield Finding("prices", "ok", "none: 'snakeway cost' shows hours only (set SNAKEWAY_PRICES_FILE for amounts)")
        return
    from snakeway.catalog import Catalog
    from snakeway.catalog.prices import PriceFile
    from snakeway.model.usage import BESIDE_SNAKEMAKE

    try:
        prices = PriceFile(settings.prices_file).read()
    except Invalid as error:
        yield Finding("prices", "fail", f"{settings.prices_file}: {error.detail}", "amounts are not shown until then")
        return
    known = {target.name for target in Catalog(settings).targets()} | {BESIDE_SNAKEMAKE}
    priced = {entry.target for entry in prices.entries}
    said = f"{len(prices.entries)} in {prices.currency}, {settings.prices_file}"
    strange = sorted(priced - known)
    if strange:
        advice = "correct the names; those of runs by hand on other machines may stay"
        yield Finding("prices", "warn", f"{said}; no target is called {', '.join(strange)}", advice)
    else:
        yield Finding("prices", "ok", said)


def _target(name: str) -> Iterator[Finding]:
    try:
        server_part("bootstrap")
        from snakeway.catalog import Catalog

        settings = read_settings()
        target = Catalog(settings).target(name)
    except SnakewayError as error:
        known = not isinstance(error, TargetNotFound)
        advice = "it must be usable on this machine to be looked at" if known else "name one that is there"
        yield Finding(f"target {name}", "fail", error.detail, advice)
        return
    from snakeway.cli import batch_checks, slurm_checks

    if target.executor in slurm_checks.EXECUTORS:
        yield from slurm_checks.slurm(target.profile, settings.data_dir, target.snakemake)
    elif target.executor in batch_checks.EXECUTORS:
        from snakeway.catalog.effective import effective

        yield from batch_checks.aws_batch(effective(target, "", os.environ), target.executor)
    else:
        yield Finding(f"target {name}", "ok", f"executor {target.executor}: there is no cluster to look at")


def _server() -> Iterator[Finding]:
    with connect(_TIMEOUT_S) as client:
        try:
            health: Any = client.ready()  # or whatever else answers at that address
        except ServerUnreachable:
            # Without an address nobody said that there must be one.
            expected = "SNAKEWAY_URL" in os.environ
            advice = "start it with 'snakeway serve', or set SNAKEWAY_URL"
            yield Finding("server", "fail" if expected else "warn", f"nothing answers at {client.url}", advice)
            return
        except SnakewayError as error:
            yield Finding("server", "fail", error.detail, "check SNAKEWAY_URL and SNAKEWAY_TOKEN")
            return
    checked = health.get("checks") if isinstance(health, dict) else None
    if not isinstance(checked, dict):
        yield Finding("server", "fail", f"{client.url} is not a Snakeway server", "set SNAKEWAY_URL to one")
        return
    wrong = {name: said for name, said in checked.items() if said != "ok"}
    yield Finding("server", "ok", f"answers at {client.url}")
    for name, said in wrong.items():
        advice = (
            "start 'snakeway supervise', or 'snakeway serve' without --no-supervisor" if name == "supervisor" else ""
        )
        yield Finding(f"server: {name}", "fail", str(said), advice)
    if "supervisor" not in wrong:
        yield Finding("supervisor", "ok", "seen lately")
