"""The commands in the tutorial and the how-to pages, executed in order; the conventions are in docs/contributing.md."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.processes import guarded, log_tail
from tests.support.server import Server, free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
COMMAND_S = 60
START_S = 60
ROWS, COLUMNS = 40, 100  # of the terminal
DOCUMENTED = "127.0.0.1:8642"  # where servers are in the documentation

_FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^(?P=indent)```$',
    re.DOTALL | re.MULTILINE,
)
_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>78])")

# Runs what it is handed, separated by NUL, and tells each exit code: one shell for all commands of a page.
_LOOP = """
status=0
while IFS= read -r -d '' -u "$1" command; do
    (exit $status)
    eval "$command"
    status=$?
    printf '%d\\n' $status >&"$2"
done
"""
_LATE_S = 0.05  # by which a terminal may be behind the programs that write to it


@dataclass
class Command:
    """A command and the lines that it prints, as far as the page shows them."""

    text: str
    shown: list[str] = field(default_factory=list)


@dataclass
class Block:
    """A block of a page: commands, or the content of a file."""

    title: str | None
    commands: list[Command]
    content: str


def blocks(page: str) -> list[Block]:
    """Return the blocks that are executed or written: ``console``, and any other whose title is a path."""
    found = []
    for fence in _FENCE.finditer(page):
        text = re.sub(f"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)
        if fence["language"] == "console":
            found.append(Block(fence["title"], commands(text), ""))
        elif fence["title"] is not None:
            found.append(Block(fence["title"], [], text))
    return found


def commands(text: str) -> list[Command]:
    """Return the commands of a ``console`` block."""
    found: list[Command] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line.removeprefix("$ ")))
        elif line.startswith("> "):
            found[-1].text += f"\n{line.removeprefix('> ')}"
        elif line.strip():
            found[-1].shown.append(line)
    return found


def pages() -> list[Path]:
    """Return the pages that have commands to be executed."""
    found = [*sorted((DOCS / "tutorial").glob("*.md")), *sorted((DOCS / "how-to").glob("*.md"))]
    return [page for page in found if any(block.commands for block in blocks(page.read_text()))]


def missing(shown: list[str], printed: str) -> str | None:
    """Return the first line that should have been printed and was not, in this order; ``...`` stands for anything.

    White space does not count, because tables are as wide as the terminal and wrap what does not fit.
    """
    rest = _without_space(printed)
    for line in shown:
        wanted = ".*?".join(re.escape(_without_space(part)) for part in line.split("..."))
        match = re.search(wanted, rest)
        if match is None:
            return line
        rest = rest[match.end() :]
    return None


def _without_space(text: str) -> str:
    return "".join(text.split())


class Shell:
    """A bash on a terminal of its own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        commands_out, self._commands = os.pipe()
        self._codes, codes_in = os.pipe()
        self._process = subprocess.Popen(
            ["bash", "--norc", "-c", _LOOP, "bash", str(commands_out), str(codes_in)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            pass_fds=(commands_out, codes_in),
        )
        for fd in (slave, commands_out, codes_in):
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for fd in (self._master, self._commands, self._codes):
            os.close(fd)

    def run(self, command: str) -> tuple[int, str]:
        """Run a command; returns its exit code and what it printed."""
        os.write(self._commands, command.encode() + b"\0")
        printed, code, deadline = b"", None, time.monotonic() + COMMAND_S
        while True:
            patience = _LATE_S if code is not None else max(0, deadline - time.monotonic())
            ready, _, _ = select.select([self._master, self._codes], [], [], patience)
            if self._master in ready:
                printed += os.read(self._master, 65536)
            elif self._codes in ready:
                code = int(os.read(self._codes, 16))
            elif code is not None:
                return code, _text(printed)
            else:
                raise AssertionError(f"no end after {COMMAND_S} s: {command}\n{_text(printed)}")


def _text(printed: bytes) -> str:
    return _ESCAPE.sub(b"", printed).decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


@dataclass
class Place:
    """A copy of the project's folders, and the port of the server that belongs to it."""

    folder: Path
    port: int

    @property
    def env(self) -> dict[str, str]:
        others = ("SNAKEWAY_", "OTEL_", "GIT_", "PYTHON", "TRACEPARENT")
        name = {"NAME": "Somebody", "EMAIL": "somebody@example.org"}
        return {
            **{variable: value for variable, value in os.environ.items() if not variable.startswith(others)},
            **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in name.items()},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "TERM": "xterm",
            "NO_COLOR": "1",
            "PAGER": "cat",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "SNAKEWAY_PORT": str(self.port),
            "SNAKEWAY_URL": f"http://127.0.0.1:{self.port}",
        }

    def here(self, text: str) -> str:
        """Return a text of the documentation with this place's address of the server."""
        return text.replace(DOCUMENTED, f"127.0.0.1:{self.port}")


def new_place(folder: Path) -> Place:
    for name in ("workflows", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".snakemake", "results", "logs"))
    return Place(folder, free_port())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place with a server, for the pages that do not start their own."""
    place = new_place(tmp_path_factory.mktemp("docs"))
    server = Server(
        place.folder / "snakeway-data",
        workflows_dir=place.folder / "workflows",
        profiles_dir=place.folder / "profiles",
        port=place.port,
    ).start()
    yield place
    server.stop()


@pytest.fixture
def unserved(tmp_path: Path) -> Place:
    """A place without a server."""
    return new_place(tmp_path)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(page: Path, request: pytest.FixtureRequest) -> None:
    told = blocks(page.read_text())
    place: Place = request.getfixturevalue("unserved" if any(block.title == "Server" for block in told) else "served")
    with ExitStack() as stack:
        shell = stack.enter_context(Shell(place.folder, place.env))
        servers = stack.enter_context(ExitStack())
        for block in told:
            if block.title == "Server":
                servers.close()
                for command in block.commands:
                    serve(command, place, servers)
            elif block.commands:
                follow(block.commands, place, shell)
            else:
                file = place.folder / str(block.title)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(place.here(block.content))


def serve(command: Command, place: Place, servers: ExitStack) -> None:
    """Start a command that goes on until the next block of servers, and wait until it has printed what is shown."""
    log = place.folder / "server.log"
    log.write_bytes(b"")
    argv = ["bash", "-c", place.here(command.text)]
    process = servers.enter_context(guarded(argv, log=log, env=place.env, cwd=place.folder))

    def printed() -> bool:
        assert process.poll() is None, f"the server ended:\n{log_tail(log)}"
        return missing([place.here(line) for line in command.shown], log.read_text()) is None

    wait_until(printed, timeout_s=START_S, what=f"what the page shows of '{command.text}'; the log is {log}")


def follow(told: list[Command], place: Place, shell: Shell) -> None:
    """Run the commands of a block. One may fail only if the next one asks for its exit code."""
    for command, after in zip(told, [*told[1:], None], strict=True):
        text = place.here(command.text)
        if text.startswith("curl ") and shutil.which("curl") is None:
            continue  # the pages show it; nothing of ours needs it
        code, printed = shell.run(text)
        if after is None or after.text != "echo $?":
            assert code == 0, f"$ {text}\n{printed}\nexit code {code}"
        absent = missing([place.here(line) for line in command.shown], printed)
        assert absent is None, f"$ {text}\ndoes not print, at its place: {absent}\nbut:\n{printed}"


def test_lines_are_compared_in_order_and_with_gaps() -> None:
    assert missing(["a ... c", "d e"], "x\na b\n c\nd \n e") is None
    assert missing(["d", "a"], "a\nd") == "a"
    assert missing(["a.c"], "abc") == "a.c"
