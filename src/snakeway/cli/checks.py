"""What ``snakeway doctor`` looks at on this machine: programs, packages, folders, settings. Changes nothing."""

import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from snakeway.telemetry import configured

State = Literal["ok", "warn", "fail"]

_OLDEST_PYTHON = (3, 11)
_SNAKEMAKE_MAJOR = 9
_OLDEST_SNAKEMAKE_MINOR = 27
_PROGRAM_TIMEOUT_S = 10
_CONNECT_S = 1
_FEW_BYTES = 10 * 1024**3
_NO_BYTES = 200 * 1024**2
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_GRPC_PORT = 4317


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found, and what can be done about it."""

    check: str
    state: State
    said: str
    advice: str = ""


def python() -> Iterator[Finding]:
    """The interpreter, and whether it may keep compiled modules."""
    said = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _OLDEST_PYTHON:
        yield Finding("python", "fail", said, f"install Python {'.'.join(map(str, _OLDEST_PYTHON))} or newer")
    else:
        yield Finding("python", "ok", said)
    if sys.flags.dont_write_bytecode:
        advice = "unset PYTHONDONTWRITEBYTECODE: without compiled modules snakemake starts several times slower"
        yield Finding("compiled modules", "warn", "Python is told not to keep them", advice)


def snakemake() -> Iterator[Finding]:
    """The installed snakemake and its logger plugin."""
    try:
        version = metadata.version("snakemake")
    except metadata.PackageNotFoundError:
        yield Finding("snakemake", "fail", "not installed", "install Snakeway with its extra 'server'")
        return
    major, minor = (int(part) for part in (*_VERSION.findall(version)[:1], "0.0")[0].split(".")[:2])
    if (major, minor) < (_SNAKEMAKE_MAJOR, _OLDEST_SNAKEMAKE_MINOR) or major > _SNAKEMAKE_MAJOR:
        needed = f">={_SNAKEMAKE_MAJOR}.{_OLDEST_SNAKEMAKE_MINOR},<{_SNAKEMAKE_MAJOR + 1}"
        yield Finding("snakemake", "fail", f"{version} is not a tested version", f"pip install 'snakemake{needed}'")
    else:
        yield Finding("snakemake", "ok", version)


def program(name: str, *, state: State, advice: str) -> Finding:
    """A program that must be found; ``state`` is what its absence means."""
    path = shutil.which(name)
    if path is None:
        return Finding(name, state, "not found on PATH", advice)
    try:
        done = subprocess.run(  # noqa: S603  the path is what PATH has for a fixed name
            [path, "--version"], capture_output=True, text=True, timeout=_PROGRAM_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name, state, f"{path} does not start: {error}", advice)
    version = _VERSION.search(done.stdout)
    if done.returncode != 0:
        return Finding(name, state, f"{path} --version fails with code {done.returncode}", advice)
    return Finding(name, "ok", f"{version[0] if version else 'unknown version'} at {path}")


def programs() -> Iterator[Finding]:
    """What snakemake and the catalog start."""
    yield program("bash", state="fail", advice="install bash: Snakemake runs every shell command with it")
    yield program("git", state="warn", advice="install git to run workflows from repositories")


def data_folder(folder: Path) -> Iterator[Finding]:
    """Whether runs can be stored, and how many."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        advice = "set SNAKEWAY_DATA_DIR to a folder that can be written to"
        yield Finding("data folder", "fail", f"{existing} cannot be written to", advice)
        return
    yield Finding("data folder", "ok", str(folder) if existing == folder else f"{folder} will be made")
    free = shutil.disk_usage(existing).free
    said = f"{free / 1024**3:.1f} GiB free on the disk of {existing}"
    state: State = "fail" if free < _NO_BYTES else "warn" if free < _FEW_BYTES else "ok"
    yield Finding(
        "disk", state, said, "" if state == "ok" else "remove old runs with 'snakeway rm', or use another disk"
    )


def open_telemetry() -> Iterator[Finding]:
    """Whether spans and metrics are sent, and whether somebody takes them."""
    if not (configured("TRACES") or configured("METRICS")):
        advice = "set OTEL_EXPORTER_OTLP_ENDPOINT to a collector to have traces and metrics"
        yield Finding("opentelemetry", "ok", f"off ({advice})")
        return
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        advice = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or unset it"
        yield Finding("opentelemetry", "warn", f"protocol {protocol} is asked for, http/protobuf is used", advice)
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    for endpoint in dict.fromkeys(filter(None, (os.environ.get(name, "").strip() for name in names))):
        yield _collector(endpoint)


def _collector(endpoint: str) -> Finding:
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if not host or parts.scheme not in {"http", "https"}:
        return Finding("opentelemetry", "warn", f"{endpoint!r} is not a URL", "it must look like http://HOST:4318")
    shown = f"{parts.scheme}://{host}:{port}"
    if port == _GRPC_PORT:
        return Finding(
            "opentelemetry", "warn", f"{shown} is a collector's port for gRPC", "use its HTTP port, mostly 4318"
        )
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError as error:
        said = f"nothing answers at {shown} ({error.strerror or error})"
        return Finding("opentelemetry", "warn", said, "start the collector; runs go on without it")
    return Finding("opentelemetry", "ok", f"sent to {shown}")


def executor(target: str, name: str) -> Finding | None:
    """The plugin that a target's executor needs; None when it is Snakemake's own, or there."""
    own = {"local", "dryrun", "touch"}
    module = f"snakemake_executor_plugin_{name.replace('-', '_')}"
    if name in own or importlib.util.find_spec(module) is not None:
        return None
    advice = f"pip install {module.replace('_', '-')}"
    return Finding(f"target {target}", "warn", f"its executor {name} is not installed beside the server", advice)
