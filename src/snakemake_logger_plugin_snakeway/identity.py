"""Which attempt of which run this snakemake process is, and where its events go."""

import json
import os
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from snakeway import ids
from snakeway.wire import ENV_ATTEMPT, ENV_EVENTS, ENV_RUN, ENV_URL, EVENTS_FILE, STATE_FOLDER

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Identity:
    """What the environment says about this process.

    Snakeway starts an attempt with run id, attempt id and events file set. Without the events file snakemake was
    started by hand (``by_hand``): its run is that of the working directory, so that a second snakemake there is another
    attempt of the same run, and its events go below that directory.
    """

    attempt_id: str
    run_id: str | None
    events: Path | None
    traceparent: str | None
    outside: bool  # nobody started this attempt who would also tell of the run and the attempt
    ships: bool  # a person started this attempt and names a server that is to hear of it

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> "Identity":
        """Read the environment, and take the events file out of it.

        A job may itself call snakemake, which inherits the environment. It must not write into our file, so it finds
        none: it records a run of its own, in its own directory. The attempt id stays, as the mark of all our processes;
        without an events file next to it, it and the run id are therefore somebody else's.
        """
        events = environ.pop(ENV_EVENTS, None)
        attempt = environ.get(ENV_ATTEMPT)
        inherited = events is None and attempt is not None
        run = environ.get(ENV_RUN)
        return cls(
            attempt_id=attempt if attempt and not inherited else ids.new_id(),
            run_id=run if run and ids.is_id(run) and not inherited else None,
            events=Path(events).absolute() if events else None,
            traceparent=environ.get("TRACEPARENT"),
            outside=events is None or attempt is None,
            # What a job of one of the server's own runs starts is a part of that job.
            ships=events is None and not inherited and bool(environ.get(ENV_URL)),
        )

    @property
    def by_hand(self) -> bool:
        return self.events is None

    def settle(self, directory: Path) -> tuple[str, Path]:
        """Return the run's id and the events file, now that the working directory is known."""
        state = directory / STATE_FOLDER
        run_id = self.run_id or run_of(state)
        return run_id, self.events or state / "attempts" / self.attempt_id / EVENTS_FILE


def profile_name(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the name of the profile's folder, as far as the command line or the environment names one."""
    profile = environ.get("SNAKEMAKE_PROFILE")
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == "--profile":
            profile = value if equals else following
    return Path(profile).name or None if profile else None


def run_of(state: Path) -> str:
    """Return the id of the run that lives in the directory of ``state``, which gets one if it has none.

    Of two processes that are first at the same time, one gives the id. Where nothing can be written the id is new
    each time: then no event is written either.
    """
    file = state / RUN_FILE
    known = _read_run(file)
    if known is not None:
        return known
    run_id = ids.new_id()
    draft = file.with_name(f"{RUN_FILE}.{run_id}")
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.write_text(json.dumps({"run_id": run_id}) + "\n")
        with suppress(FileExistsError):
            os.link(draft, file)  # unlike a rename, does not replace what another process has just written
    except OSError:
        with suppress(OSError):
            draft.rename(file)  # a file system without hard links, or nothing to be done
    finally:
        with suppress(OSError):
            draft.unlink()
    return _read_run(file) or run_id


def _read_run(file: Path) -> str | None:
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        run_id = found.get("run_id") if isinstance(found, dict) else None
        if isinstance(run_id, str) and ids.is_id(run_id):
            return run_id
    return None
