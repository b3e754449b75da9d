"""What a real run costs, with prices that are edited under a running server."""

import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.conftest import StartServer
from tests.support.server import Server

# The second job fails at its first try, and the third forgets to say how much memory it takes.
SNAKEFILE = """
rule all:
    input: "first.txt", "second.txt", "third.txt"
rule first:
    output: "first.txt"
    resources: mem_mb=2048
    threads: 2
    shell: "sleep 0.3; touch {output}"
rule second:
    output: "second.txt"
    resources: mem_mb=1024
    retries: 1
    shell: "sleep 0.3; mkdir again.mark 2>/dev/null && exit 1; touch {output}"
rule third:
    output: "third.txt"
    shell: "touch {output}"
"""
PRICES = "currency: EUR\nprices:\n- {target: local, kind: cluster, vcpu_hour: PRICE, gib_hour: 3600}\n"


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES.replace("PRICE", "3600"))
    return path


def command(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "snakeway", "cost", *words]
    return subprocess.run(argv, env=server.env, capture_output=True, text=True, timeout=60, check=False)


def test_a_run_is_priced_by_a_file_that_is_edited_while_the_server_runs(
    start_server: StartServer, workflows: Callable[..., Path], prices: Path
) -> None:
    settings = {"SNAKEWAY_PRICES_FILE": str(prices)}
    server = start_server(workflows_dir=workflows(costly=SNAKEFILE), settings=settings)
    run_id = server.submit("costly")
    assert server.end_of(run_id)["state"] == "succeeded"

    found = server.get(f"/runs/{run_id}/cost")
    rules = {rule["rule"]: rule["cost"] for rule in found["rules"]}
    spans = {job["rule"]: job for job in server.jobs(run_id)}
    assert len(spans["second"]["tries"]) == 1
    assert (rules["second"]["jobs"], found["provisional"]) == (1, False)
    for rule, seconds in (("first", 2 * 0.3), ("second", 2 * 0.3)):  # two processors, and two tries
        assert 3600 * rules[rule]["vcpu_hours"] >= seconds
    assert 3600 * rules["first"]["gib_hours"] == pytest.approx(3600 * rules["first"]["vcpu_hours"], abs=0.02)
    assert rules["third"]["jobs_without_memory"] == 1
    # An hour costs 3600, so what a second costs is the number of seconds.
    expected = 3600 * (rules["first"]["vcpu_hours"] + rules["first"]["gib_hours"])
    assert float(rules["first"]["amount"]) == pytest.approx(expected, abs=0.02)
    assert (found["total"]["currency"], found["total"]["estimate"]) == ("EUR", True)

    prices.write_text(PRICES.replace("PRICE", "7200"))
    edited = server.get(f"/runs/{run_id}/cost")["total"]
    assert float(edited["amount"]) > float(found["total"]["amount"])
    assert edited["vcpu_hours"] == found["total"]["vcpu_hours"]

    told = command(server, run_id)
    assert told.returncode == 0, told.stderr
    assert {line.split("\t")[0] for line in told.stdout.splitlines()} >= {"first", "second", "third"}
    assert all(line.endswith("\tEUR\testimated") for line in told.stdout.splitlines())
    assert f"{Decimal(edited['amount']):.2f} EUR (estimated)" in told.stderr  # rounded as decimals are, not as floats

    assert server.request("DELETE", f"/runs/{run_id}").status_code == 204
    summed = json.loads(command(server, "--by", "workflow", "--json").stdout)
    [item] = summed["items"]
    assert (item["key"], item["cost"]["amount"]) == ("costly", edited["amount"])
    assert command(server, run_id).returncode == 4
