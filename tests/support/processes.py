"""Run programs which end together with the test process, however that one ends."""

import os
import pwd
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

Argv = Sequence[str | Path]

_WATCHER_PATIENCE_MS = 500

# The program takes the place of the shell (exec), so its process id is the one we know. The shell leaves
# behind a watcher in the same process group, which blocks on a pipe held open by the test process. When
# the test process is gone, even by SIGKILL, the pipe closes and the watcher stops the program. As long as
# the watcher lives its process group exists, so that the process id cannot have gone to another program.
_GUARDED = 'stop=$1; shift; exec 3<&0; (read -r _ <&3; kill -s "$stop" $$) & exec "$@" </dev/null 3<&-'


def run(
    argv: Argv,
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    user: str | None = None,
    given: bytes = b"",
    check: bool = True,
) -> bytes:
    """Run a program to its end and return what it printed on its standard output.

    `env` is its whole environment and `given` its standard input. With `user` the program runs as that user
    with its main group only, which takes root.

    Raises RuntimeError with everything the program printed if it fails (not with `check=False`), OSError if it
    is not there.
    """
    pipe = subprocess.PIPE
    with _spawn(argv, env=env, cwd=cwd, user=user, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            output, errors = process.communicate(given)
        except BaseException:
            _kill_group(process)
            process.communicate()  # until the children have closed their output, too
            raise
    if check and process.returncode != 0:
        said = (output + errors).decode(errors="replace")
        raise RuntimeError(f"{argv[0]} failed with code {process.returncode}:\n{said}")
    return output


@contextmanager
def guarded(
    argv: Argv,
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
    patience_s: float = 10.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for as long as the `with` block lasts; its output is appended to `log`.

    The program has a process group of its own, so that Ctrl-C in the terminal does not reach it. It is sent `stop`
    when the block is left or when the test process dies, and SIGKILL if it is still there `patience_s`
    seconds after the block was left. The block may kill it earlier.

    Raises OSError if `log` cannot be written or /bin/sh is missing; a program that cannot be started
    ends at once with code 126 or 127 and leaves its reason in `log`.
    """
    guard: Argv = ["/bin/sh", "-c", _GUARDED, "guard", stop.name.removeprefix("SIG"), *argv]
    with log.open("ab") as output:
        process = _spawn(
            guard,
            env=env,
            cwd=cwd,
            user=user,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        try:
            process.send_signal(stop)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
        finally:
            _kill_group(process)
            process.wait()
            _close(process.stdin)


def log_tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log file, for error messages; an unreadable file gives an empty text."""
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _spawn(argv: Argv, *, user: str | None, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program without a shell and with a process group of its own.

    With `user` it runs as that user and with its main group only, otherwise as ourselves.
    """
    if user is not None:
        options |= {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    # No shell takes part, and the arguments are made by the tests.
    return subprocess.Popen(argv, start_new_session=True, **options)  # noqa: S603, RUF100


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with all its children which kept to its process group."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter if only dead ones are left
        os.killpg(process.pid, signal.SIGKILL)


def _close(pipe: IO[bytes] | None) -> None:
    """Close the pipe to a watcher once the watcher is gone, or after a moment if it cannot be told."""
    if pipe is not None:
        ends = select.poll()
        ends.register(pipe, 0)  # an error is always reported: nobody reads any more
        ends.poll(_WATCHER_PATIENCE_MS)
        pipe.close()
