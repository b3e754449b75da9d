"""Runs git: without a shell, without questions, without configuration from repositories, and not for ever."""

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from snakeway.catalog.gitsource import GitSource, without_credentials

# What of git's own environment an administrator may have set for the server; the rest could point git elsewhere.
_KEPT = (
    "GIT_SSH",
    "GIT_SSL_",
    "GIT_PROXY_",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_EXEC_PATH",
)
_CREDENTIALS = "SNAKEWAY_GIT_CREDENTIALS"
_HELPER = f'!f() {{ test "$1" != get || printf \'%s\\n\' "${_CREDENTIALS}"; }}; f'
_DAMAGE = re.compile(r"\.lock'|corrupt|bad object|garbage|not a git repository|index file|packfile|bad config")


class GitError(Exception):
    """git failed; the text is what it said about the reason, without credentials."""

    @property
    def is_damage(self) -> bool:
        """Whether the reason may be our own copy of the repository, such as a lock that a killed git left behind."""
        return _DAMAGE.search(str(self)) is not None


class Git:
    """git in one repository of ours. ``lock`` is a descriptor that git holds open as long as it runs."""

    def __init__(self, repository: Path, source: GitSource, timeout_s: float, lock: int) -> None:
        self.repository = repository
        self._timeout_s = timeout_s
        self._lock = lock
        self._environment = _environment(source)
        follow = "false" if source.restricted else "initial"  # a redirect could lead away from the allowed hosts
        self._options = [
            *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never"),
            *("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", f"http.followRedirects={follow}"),
            # So that a git whose server was killed ends as well when the network is silent.
            *("-c", "http.lowSpeedLimit=1", "-c", f"http.lowSpeedTime={max(1, round(timeout_s))}"),
        ]

    def run(self, *arguments: str) -> bytes:
        """Run a git command to its end and return its output. Raises GitError."""
        with self.start(*arguments) as process:
            return process.communicate()[0]

    @contextmanager
    def start(self, *arguments: str, given: BinaryIO | int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
        """Run a git command for the length of the block, which reads its output.

        Raises GitError at the end of the block if git failed, took too long, or is not installed.
        """
        # Errors go to a file: nobody reads them while the output is read.
        with open_unlinked() as errors:
            try:
                process = subprocess.Popen(  # noqa: S603 - arguments are checked and no shell is involved
                    ["git", *self._options, "--git-dir", str(self.repository), *arguments],  # noqa: S607
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._environment,
                    cwd="/",
                    start_new_session=True,  # no terminal to ask at, and one group to kill
                    # A git that outlives this process keeps the lock: nobody else touches the repository meanwhile.
                    pass_fds=(self._lock,),
                )
            except OSError as error:
                raise GitError(f"git cannot be started: {error.strerror}") from None
            too_late = threading.Event()

            def give_up() -> None:
                too_late.set()
                _kill(process)

            timer = threading.Timer(self._timeout_s, give_up)
            timer.start()
            try:
                with process:
                    try:
                        yield process
                    except BaseException:
                        _kill(process)
                        raise
            except GitError:  # the block found the output cut off
                if not too_late.is_set():
                    raise
            finally:
                timer.cancel()
            if too_late.is_set():
                raise GitError(f"git took longer than {self._timeout_s:g} s (setting git_timeout_s)")
            if process.returncode:
                errors.seek(0)
                raise GitError(_reason(errors.read().decode(errors="replace"), process.returncode))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill git and its helpers. Its group is ours alone as long as it was not waited for."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _environment(source: GitSource) -> dict[str, str]:
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GIT_", "SNAKEWAY_")) or key.startswith(_KEPT)
    }
    config = {"remote.origin.url": source.shown}
    if source.credentials is not None:
        # Not in the URL, which git's helpers have on their command lines, and for no host that a redirect leads to.
        user, password = source.credentials
        inherited[_CREDENTIALS] = f"username={user}" if password is None else f"username={user}\npassword={password}"
        origin = "/".join(source.shown.split("/", 3)[:3])
        config[f"credential.{origin}.helper"] = _HELPER
    settings = {"GIT_CONFIG_COUNT": str(len(config))}
    for at, (key, value) in enumerate(config.items()):
        settings |= {f"GIT_CONFIG_KEY_{at}": key, f"GIT_CONFIG_VALUE_{at}": value}
    return (
        inherited
        | settings
        | {
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",  # none, not even the one of ssh
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
    )


def _reason(said: str, code: int) -> str:
    """Return the line of git's messages that says most."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [at for at, line in enumerate(lines) if line.startswith(("fatal:", "error:", "ERROR:"))]
    if not fatal:
        return without_credentials(lines[-1]) if lines else f"git ended with code {code}"
    at = fatal[-1]
    # What ssh said about the reason stands before this general line.
    if lines[at].startswith("fatal: Could not read from remote repository") and at > 0:
        at -= 1
    return without_credentials(lines[at]).rstrip(".")


def open_unlinked() -> BinaryIO:
    """Return a temporary file without a name, which is gone when it is closed."""
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    return file
