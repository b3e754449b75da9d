"""What ``snakeway doctor`` finds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snakeway import cli
from snakeway.cli import checks, doctor
from snakeway.store import Store
from tests.support.server import free_port
from tests.unit.test_client_stand_in import StandIn, reply, running, text

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("SNAKEWAY_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def call(*args: str) -> tuple[int, str, str]:
        code = cli.main(list(args))
        out, err = capfd.readouterr()
        return code, out, err

    return call


def findings(call: Call) -> dict[str, dict[str, str]]:
    code, out, _ = call("doctor", "--json")
    found = {finding["check"]: finding for finding in json.loads(out)}
    assert code == (1 if any(finding["state"] == "fail" for finding in found.values()) else 0)
    return found


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """A machine without trouble, and a server that is well."""
    (tmp_path / "workflows" / "one").mkdir(parents=True)
    (tmp_path / "workflows" / "one" / "Snakefile").write_text("rule all:\n")
    (tmp_path / "profiles" / "local").mkdir(parents=True)
    (tmp_path / "profiles" / "local" / "config.yaml").write_text("executor: local\n")
    with running() as stand_in:
        stand_in.on("GET", "/health/ready", reply({"status": "ok", "checks": {"database": "ok", "supervisor": "ok"}}))
        monkeypatch.setenv("SNAKEWAY_URL", stand_in.url)
        yield stand_in


class TestDoctor:
    def test_a_healthy_machine(self, healthy: StandIn, call: Call, tmp_path: Path) -> None:
        found = findings(call)
        assert {finding["state"] for name, finding in found.items() if name not in ("disk", "compiled modules")} == {
            "ok"
        }
        expected = "python bash git snakemake database workflows targets opentelemetry server supervisor"
        assert {*expected.split(), "data folder", "disk", "object storage"} <= found.keys()
        assert not (tmp_path / "snakeway-data").exists()

    def test_lines(self, healthy: StandIn, call: Call) -> None:
        code, out, _ = call("doctor")
        assert code == 0
        assert {line.count("\t") for line in out.splitlines()} == {3}

    def test_no_server_is_a_warning_unless_one_is_named(
        self, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SNAKEWAY_URL", f"http://127.0.0.1:{free_port()}")
        assert findings(call)["server"]["state"] == "fail"
        monkeypatch.setattr("snakeway.cli.connect.DEFAULT_URL", f"http://127.0.0.1:{free_port()}")
        monkeypatch.delenv("SNAKEWAY_URL")
        assert findings(call)["server"]["state"] == "warn"

    def test_a_server_in_trouble(self, healthy: StandIn, call: Call) -> None:
        checked = {"database": "ok", "supervisor": "nobody there", "data_dir": "full"}
        healthy.on("GET", "/health/ready", reply({"status": "unavailable", "checks": checked}, 503))
        found = findings(call)
        assert found["server: supervisor"]["said"] == "nobody there"
        assert "snakeway supervise" in found["server: supervisor"]["advice"]
        assert found["server: data_dir"]["state"] == "fail"
        assert "supervisor" not in found

    @pytest.mark.parametrize("answer", [reply({"items": []}), reply([]), reply({}, 404), reply({}, 500), text("hello")])
    def test_something_else_at_the_address(self, answer: Any, healthy: StandIn, call: Call) -> None:
        healthy.on("GET", "/health/ready", answer)
        found = findings(call)
        assert found["server"]["state"] == "fail"
        assert "broke" not in found["server"]["said"]

    def test_a_target_that_is_not_there(self, healthy: StandIn, call: Call) -> None:
        code, out, _ = call("doctor", "--json", "--target", "nowhere")
        found = {finding["check"]: finding for finding in json.loads(out)}["target nowhere"]
        assert (code, found["state"], found["advice"]) == (1, "fail", "name one that is there")
        assert "there is no target 'nowhere'" in found["said"]

    def test_broken_workflows_and_targets(self, healthy: StandIn, call: Call, tmp_path: Path) -> None:
        (tmp_path / "workflows" / "one" / "config").mkdir()
        (tmp_path / "workflows" / "one" / "config" / "config.yaml").write_text("a: [")
        (tmp_path / "profiles" / "bad").mkdir()
        (tmp_path / "profiles" / "bad" / "config.yaml").write_text("- no\n")
        (tmp_path / "profiles" / "cluster").mkdir()
        (tmp_path / "profiles" / "cluster" / "config.yaml").write_text("executor: of-tomorrow\n")
        found = findings(call)
        assert found["workflow one"]["state"] == found["target bad"]["state"] == "fail"
        assert "mapping" in found["target bad"]["said"]
        assert "pip install snakemake-executor-plugin-of-tomorrow" in found["target cluster"]["advice"]

    @pytest.mark.parametrize(
        ("text", "state", "said"),
        [
            (None, "ok", "hours only"),
            ("target: local", "ok", "1 in EUR"),
            ("target: nowhere", "warn", "no target is called nowhere"),
            ("target: [local]", "fail", "prices.yaml, line 3: prices[0].target"),
        ],
    )
    def test_prices(
        self,
        text: str | None,
        state: str,
        said: str,
        healthy: StandIn,
        call: Call,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        if text is not None:
            lines = ("currency: EUR", "prices:", f"- {text}", "  kind: cluster", "  vcpu_hour: 1", "  gib_hour: 0")
            (tmp_path / "prices.yaml").write_text("\n".join(lines))
            monkeypatch.setenv("SNAKEWAY_PRICES_FILE", "prices.yaml")
        found = findings(call)["prices"]
        assert found["state"] == state
        assert said in found["said"]

    def test_nothing_to_run(self, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SNAKEWAY_WORKFLOWS_DIR", "/nonexistent")
        monkeypatch.setenv("SNAKEWAY_PROFILES_DIR", "/nonexistent")
        found = findings(call)
        assert found["workflows"]["state"] == "warn"
        assert found["targets"]["state"] == "fail"

    def test_databases(self, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'x.db'}"
        monkeypatch.setenv("SNAKEWAY_DATABASE_URL", url)
        assert findings(call)["database"]["state"] == "ok"
        assert not (tmp_path / "x.db").exists()
        (tmp_path / "x.db").touch()
        assert "snakeway migrate" in findings(call)["database"]["advice"]
        store = Store(url)
        store.migrate()
        store.close()
        assert "schema is this version's" in findings(call)["database"]["said"]
        monkeypatch.setenv("SNAKEWAY_DATABASE_URL", f"postgresql+psycopg://u:hush@127.0.0.1:{free_port()}/x")
        found = findings(call)["database"]
        assert found["state"] == "fail"
        assert "hush" not in json.dumps(found)

    def test_object_storage(
        self, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert "will be made" in findings(call)["object storage"]["said"]
        (tmp_path / "snakeway-data" / "blobs").mkdir(parents=True)
        assert "written, read and deleted" in findings(call)["object storage"]["said"]
        assert not [path for path in (tmp_path / "snakeway-data").rglob("*") if path.is_file()]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        monkeypatch.setenv("SNAKEWAY_BLOBS_URL", f"s3://bucket?endpoint=http://127.0.0.1:{free_port()}")
        found = findings(call)["object storage"]
        assert found["state"] == "fail"
        assert "does not answer" in found["said"]
        assert "hush" not in json.dumps(found)
        monkeypatch.setenv("SNAKEWAY_BLOBS_URL", "s3://key:hush@bucket")
        settings = findings(call)["settings"]
        assert "credentials do not belong" in settings["said"]
        assert "hush" not in json.dumps(settings)

    def test_settings_and_folders(
        self, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("SNAKEWAY_DATA_DIR", str(tmp_path / "file" / "below"))
        assert findings(call)["data folder"]["state"] == "fail"
        monkeypatch.setenv("SNAKEWAY_PORT", "x")
        assert "SNAKEWAY_PORT" in findings(call)["settings"]["said"]

    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        import shutil
        from collections import namedtuple

        usage = namedtuple("usage", "total used free")
        states = []
        for free in (10**6, 10**9, 10**12):
            monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(0, 0, free))
            states.append([finding.state for finding in checks.data_folder(tmp_path)])
        assert states == [["ok", "fail"], ["ok", "warn"], ["ok", "ok"]]

    def test_programs(self, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "bash").write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / "bin" / "bash").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        found = findings(call)
        assert (found["git"]["state"], found["bash"]["state"]) == ("warn", "fail")
        assert "code 3" in found["bash"]["said"]

    @pytest.mark.parametrize(
        ("env", "state", "said"),
        [
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "warn", "nothing answers"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}, "warn", "gRPC"),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "nonsense"}, "warn", "not a URL"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::x"}, "warn", "not a URL"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_SDK_DISABLED": "true"}, "ok", "off"),
        ],
    )
    def test_telemetry(
        self, env: dict[str, str], state: str, said: str, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        found = findings(call)["opentelemetry"]
        assert found["state"] == state
        assert said in found["said"]

    def test_telemetry_of_another_protocol(self, healthy: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", healthy.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        assert [finding.state for finding in checks.open_telemetry()] == ["warn", "ok"]

    def test_a_check_that_breaks_is_a_finding(
        self, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checks, "programs", lambda: 1 / 0)
        found = findings(call)
        assert "ZeroDivisionError" in found["programs"]["said"]
        assert found["server"]["state"] == "ok"

    def test_the_client_alone(self, healthy: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "snakeway.bootstrap")
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        found = findings(call)
        assert found["server part"]["state"] == "warn"
        assert found["server"]["state"] == "ok"
        assert "database" not in found

    @pytest.mark.parametrize(
        ("version", "state"), [("9.27.1", "ok"), ("9.26.0", "fail"), ("8.30", "fail"), ("10.0", "fail")]
    )
    def test_versions_of_snakemake(self, version: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("snakeway.cli.checks.metadata.version", lambda _: version)
        assert [finding.state for finding in checks.snakemake()] == [state]

    def test_bytecode(self) -> None:
        code = "from snakeway.cli import checks; print([finding.state for finding in checks.python()])"
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "['ok', 'warn']"


def test_every_finding_has_advice_unless_it_is_ok(call: Call) -> None:
    for finding in doctor.examine():
        assert finding.state == "ok" or finding.advice
