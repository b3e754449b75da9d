"""What the user is told when something goes wrong: one line on stderr, and an exit code for each kind.

0    done; with --follow: the run succeeded
1    the followed run failed, or the command failed in a way that has no code of its own
2    the command line or the request is not valid
3    the followed run was cancelled
4    there is no such run, job, artifact, workflow or target
5    the server cannot be reached, or something that it needs does not answer
6    no token, a wrong one, or not allowed
7    not possible in this state: the run is still active, has ended, the idempotency key was used
8    the followed run is paused: it waits for a person's decision about a gate
75, 77  only of 'snakeway gate', in workflows: nobody has decided yet; it was rejected
130  interrupted with Ctrl-C; a followed run goes on
141  whoever read the output has stopped reading
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import typer

from snakeway import errors
from snakeway.cli import output
from snakeway.errors import Invalid, SnakewayError

OK = 0
FAILED = 1
INVALID = 2
CANCELLED = 3
INTERRUPTED = 130

_CODES: tuple[tuple[type[SnakewayError], int], ...] = (
    (errors.Invalid, INVALID),
    (errors.NotFound, 4),
    (errors.Unavailable, 5),
    (errors.Unauthorized, 6),
    (errors.Forbidden, 6),
    (errors.Conflict, 7),
)
# Typer keeps the class of usage errors to itself, in another place in each version; this child of it is public.
_UsageError = typer.BadParameter.__mro__[1]


def exit_code(error: SnakewayError) -> int:
    """Return the exit code of an error."""
    return next((code for cls, code in _CODES if isinstance(error, cls)), FAILED)


def guarded(command: Callable[[], Any], args: Sequence[str]) -> int:
    """Run a command and turn whatever it raises into a line and an exit code."""
    _tolerate_odd_text()
    as_json = "--json" in args[: args.index("--") if "--" in args else len(args)]
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()
    except SnakewayError as error:
        return _tell(error, as_json)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        output.close_quietly(sys.stdout)
        return output.CLOSED_PIPE
    except OSError as error:
        return _tell(SnakewayError(_of_the_system(error)), as_json)
    except Exception as error:  # noqa: BLE001  the last resort: users are not shown tracebacks
        if isinstance(error, _UsageError):
            return _tell(Invalid(_of_usage(error)), as_json)
        said = f"unexpected {type(error).__name__}: {error}; this is a bug: SNAKEWAY_DEBUG=1 shows where"
        return _tell(SnakewayError(said), as_json)
    return code if isinstance(code, int) else OK


def problem(error: SnakewayError) -> dict[str, str]:
    """Return the error as the problem object that the API would send."""
    said = {"type": f"/problems/{error.code}", "title": error.title, "detail": error.detail, "code": error.code}
    return {**said, "field": error.field} if error.field else said


def _tell(error: SnakewayError, as_json: bool) -> int:
    if os.environ.get("SNAKEWAY_DEBUG"):
        traceback.print_exc()
    if as_json:
        text = output.as_json(problem(error))
    else:
        field = f" ({error.field})" if error.field and error.field not in error.detail else ""
        text = f"snakeway: error: {output.clean(error.detail)}{field}"
    with suppress(OSError, typer.Exit):
        output.hint(text)
    return exit_code(error)


def _of_usage(error: Exception) -> str:
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "snakeway"
    said = output.clean(said).replace("Value error, ", "").rstrip(".")
    return f"{said} (see '{path} --help')"


def _of_the_system(error: OSError) -> str:
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror or error}"


def _tolerate_odd_text() -> None:
    """File names and logs may hold what the terminal's encoding does not have: escaped then."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
