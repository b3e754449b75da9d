"""Puts an attempt's order into its directory: what the shim reads. May be repeated after a crash at any line."""

from typing import Any

from snakeway.directory import AttemptDirectory, read_json, write_json


def write_order(folder: AttemptDirectory, command: dict[str, Any], config: str | None) -> None:
    """Write ``command.json``, and the configuration beside it if the run has one of its own."""
    _set_aside(folder, command["attempt_id"])
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o770)
    if config is not None:
        temporary = folder.config.with_name(".config.yaml")
        temporary.write_text(config, encoding="utf-8")
        temporary.replace(folder.config)
    write_json(folder.command, command, sync=True)


def _set_aside(folder: AttemptDirectory, attempt_id: str) -> None:
    """Rename the folder of another attempt of this number: one that a database restored from a backup has forgotten."""
    command_ = read_json(folder.command)
    if command_ is not None and command_.get("attempt_id") != attempt_id:
        folder.path.replace(folder.path.with_name(f"{folder.path.name}.{command_.get('attempt_id')}"))
