"""Draws docs/assets/run.svg: a real run in a terminal. Run it beside a server: ``python docs/picture.py``.

The commands are executed for real, in a pseudo-terminal as wide as the picture; nothing is edited.
"""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH, HEIGHT = 108, 40
COMMANDS = [
    "snakeway submit quickstart --config memory_demo=true",
    "snakeway rerun last --apply-suggestions",
    "snakeway show last",
]
# As rich draws a terminal, but with the reader's own fixed-width font: nothing is loaded from elsewhere.
FORMAT = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" xml:space="preserve">
<style>
text {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run(command: str) -> str:
    """Return what a command writes to a terminal of the picture's size."""
    reader, writer = pty.openpty()
    env = {**os.environ, "COLUMNS": str(WIDTH), "LINES": str(HEIGHT), "TERM": "xterm-256color"}
    # The command is one of the constants above.
    process = subprocess.Popen(command.split(), stdin=writer, stdout=writer, stderr=writer, env=env)
    os.close(writer)
    parts = []
    while True:
        try:
            data = os.read(reader, 65536)
        except OSError:  # the terminal is closed: the command has ended
            break
        if not data:
            break
        parts.append(data)
    process.wait()
    os.close(reader)
    return b"".join(parts).decode().replace("\r\n", "\n")


def wait() -> None:
    """Wait for the end of the newest run."""
    while json.loads(run("snakeway runs --limit 1 --json"))[0]["state"] in ("queued", "running"):
        time.sleep(0.2)


def main() -> None:
    """Execute the commands and write the picture."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        for command in COMMANDS:
            console.print(Text(f"$ {command}", style="bold"))
            console.print(Text.from_ansi(run(command).rstrip()), end="\n\n")
            wait()
    path = Path(__file__).parent / "assets" / "run.svg"
    path.parent.mkdir(exist_ok=True)
    path.write_text(console.export_svg(title="snakeway", code_format=FORMAT, unique_id="run"))
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
