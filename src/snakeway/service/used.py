"""The inputs that a run uses: found by the references in its configuration, noted in its record, kept while it is."""

from dataclasses import dataclass
from typing import Any

from snakeway.errors import InvalidConfig
from snakeway.model.input import InputState, path_of, references, resolved
from snakeway.rows import InputRow, RunRow
from snakeway.store import Store, Transaction, inputs


@dataclass(frozen=True, slots=True)
class Used:
    """A configuration with paths in the place of its references, and the inputs that they are to, by their ids."""

    config: dict[str, Any]
    rows: dict[str, InputRow]

    def records(self) -> list[dict[str, Any]]:
        """Return what a run's record says of them."""
        return [_record(row) for row in self.rows.values()]


def used_by(store: Store, owner: str, config: dict[str, Any]) -> Used:
    """Find the inputs that a configuration refers to, among those of ``owner``; raises InvalidConfig."""
    wanted = references(config)
    if not wanted:
        return Used(config, {})
    with store.read() as tx:
        rows = inputs.of_ids(tx, list(wanted))
    paths: dict[str, str] = {}
    for input_id, field in wanted.items():
        row = rows.get(input_id)
        if row is None or row.owner != owner or row.state is not InputState.COMPLETE:
            raise InvalidConfig(
                f"{field}: there is no complete input {input_id} of yours; 'snakeway inputs' lists them", field=field
            )
        paths[input_id] = path_of(row.name, row.sha256)
    digests: dict[str, str] = {}
    for input_id, path in paths.items():
        if digests.setdefault(path, rows[input_id].sha256) != rows[input_id].sha256:
            raise InvalidConfig(f"two inputs would be at {path}; give one of them another name", field=wanted[input_id])
    return Used(resolved(config, paths), rows)


def pin(tx: Transaction, run: RunRow, used: Used) -> None:
    """Keep the inputs as long as the run, whose row is there; raises InvalidConfig."""
    if not used.rows:
        return
    inputs.lock_owner(tx, run.owner)
    still = inputs.of_ids(tx, list(used.rows))
    for input_id in used.rows:
        if input_id not in still or still[input_id].state is not InputState.COMPLETE:
            raise InvalidConfig(f"input {input_id} was deleted at this moment; upload it again")
    inputs.pin(tx, run.id, list(used.rows))


def note(run: RunRow, used: Used) -> None:
    """Have a run's record name the inputs besides those before."""
    if not used.rows:
        return
    known = {each["id"] for each in run.inputs}
    run.inputs = [*run.inputs, *(each for each in used.records() if each["id"] not in known)]


def _record(row: InputRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "path": path_of(row.name, row.sha256),
        "name": row.name,
        "sha256": row.sha256,
        "size_bytes": row.size_bytes,
    }
