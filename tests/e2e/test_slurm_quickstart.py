"""The quickstart on a real Slurm cluster: through the service, with its trace, and by hand."""

import os
from pathlib import Path

import pytest

from snakeway.telemetry import names
from tests.e2e.conftest import StartServer
from tests.e2e.test_slurm import Login, by_place
from tests.support.otlp import otlp_receiver
from tests.support.server import ROOT
from tests.support.slurm import NODES, Cluster

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(900)]

# The size that it has by default: SLURM_BATCHES=12 make test ARGS="-k quickstart_on_a_cluster"
BATCHES = int(os.environ.get("SLURM_BATCHES", "4"))
RESULTS = ("results/table.csv", "results/figure.svg")


def test_the_quickstart_on_a_cluster_is_the_same_by_hand_and_by_the_service(
    cluster: Cluster, slurm_server: StartServer, tmp_path: Path
) -> None:
    with otlp_receiver(tmp_path / "receiver") as receiver:
        server = slurm_server(settings={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})
        run_id = server.submit("quickstart", target="quick", config={"batches": BATCHES})
        login = Login(tmp_path / "login", ROOT / "workflows" / "quickstart", server, **cluster.env)
        login.profile = server.profiles_dir / "quick"
        done = login.snakemake("--config", f"batches={BATCHES}")
        assert done.returncode == 0, done.stderr
        run = server.end_of(run_id, timeout_s=600)
        assert run["state"] == "succeeded", run
        jobs = server.jobs(run_id)
        distant = [job for job in jobs if job["external_id"]]
        assert len(distant) >= 3 * BATCHES
        spans = receiver.wait_for(len(jobs) + len(distant) + 2, trace_id=run["trace_id"])
    assert server.end_of(login.run_id)["state"] == "succeeded"
    assert by_place(jobs) == by_place(server.jobs(login.run_id))
    for name in RESULTS:
        assert (server.directory(run_id) / name).read_bytes() == (login.folder / name).read_bytes()
    assert {job["scheduled"]["host"] for job in distant} == set(NODES)

    waited = {span.attributes[names.JOB_ID]: span for span in spans if span.name.startswith(f"{names.SPAN_QUEUE} ")}
    worked = {span.attributes[names.JOB_ID]: span for span in spans if span.name.startswith(f"{names.SPAN_JOB} ")}
    assert waited.keys() == {job["job"] for job in distant}
    for number, span in waited.items():
        assert span.parent_id == worked[number].parent_id
        assert span.start_ns < span.end_ns == worked[number].start_ns
