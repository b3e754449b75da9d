"""Memory (proportional set size, shared pages counted once) of everything: idle, and for each run at the same time."""

import tempfile
from pathlib import Path

import psutil

from tests.support.server import Server
from tests.support.waiting import wait_until

RUNS = 4

WORKFLOW = """
rule all:
    input: "up.txt"

rule wait:
    output: "up.txt"
    shell: "touch running; while [ ! -e ../go ]; do sleep 0.2; done; touch {output}"
"""


def pss_mib(server: Server) -> float:
    """Memory of the server, its forkserver and its runs' shims and snakemakes."""
    total = 0
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("SNAKEWAY_DATA_DIR") == str(server.data_dir)
            if ours or Path(process.cwd()).is_relative_to(server.data_dir / "runs"):
                total += process.memory_full_info().pss
        except (psutil.Error, ProcessLookupError):
            continue
    return total / 2**20


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "workflows/wait").mkdir(parents=True)
        (root / "workflows/wait/Snakefile").write_text(WORKFLOW)
        settings = {"SNAKEWAY_MAX_ACTIVE_RUNS": str(RUNS)}
        server = Server(root / "data", workflows_dir=root / "workflows", settings=settings).start()
        try:
            go = server.data_dir / "runs/go"
            first = server.submit("wait")
            wait_until(lambda: (server.directory(first) / "running").exists() or None, timeout_s=60, what="a run")
            go.touch()
            server.end_of(first)
            go.unlink()
            idle = pss_mib(server)
            run_ids = [server.submit("wait") for _ in range(RUNS)]
            for run_id in run_ids:
                running = server.directory(run_id) / "running"
                wait_until(lambda path=running: path.exists() or None, timeout_s=60, what="the run")
            busy = pss_mib(server)
            go.touch()
            for run_id in run_ids:
                server.end_of(run_id)
        finally:
            server.stop()
    print(f"idle, server and forkserver          {idle:8.0f} MiB")
    print(f"each further run at the same time    {(busy - idle) / RUNS:8.0f} MiB")


if __name__ == "__main__":
    main()
