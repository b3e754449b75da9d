"""Outputs, workflows and targets, against a stand-in server."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_cli_stand_in import Call
from tests.unit.test_client_nouns import RUN_ID, artifact, target, workflow
from tests.unit.test_client_stand_in import StandIn, file, page, reply

pytest_plugins = ("tests.unit.test_cli_stand_in",)

BASE = f"/runs/{RUN_ID}"
SHORT = RUN_ID[-8:]


class TestArtifacts:
    DATA = b"x" * 2048
    SHA = hashlib.sha256(DATA).hexdigest()

    def serve(self, server: StandIn, *paths: str) -> None:
        server.on("GET", f"{BASE}/artifacts", page(*(artifact(path=path, sha256=self.SHA) for path in paths)))
        for path in paths:
            server.on("GET", f"{BASE}/artifacts/{path}", file(self.DATA))

    def test_lines(self, server: StandIn, call: Call) -> None:
        self.serve(server, "results/a.csv")
        expected = f"results/a.csv\t2048\ttable\t1\t3\t2026-01-02T03:05:36Z\t{self.SHA}\ttarget\n"
        assert call("artifacts", RUN_ID)[1] == expected
        assert json.loads(call("artifacts", RUN_ID, "--json")[1])[0]["path"] == "results/a.csv"

    def test_table(self, server: StandIn, call: Call, terminal: None) -> None:
        self.serve(server, "results/a.csv")
        assert "results/a.csv  2.0 KiB  table" in call("artifacts", RUN_ID)[1]

    def test_all_below_a_folder_of_its_own(
        self, server: StandIn, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        self.serve(server, "results/a.csv", "b.csv")
        assert call("get", RUN_ID)[:2] == (
            0,
            f"downloaded\t{SHORT}/results/a.csv\ndownloaded\t{SHORT}/b.csv\n",
        )
        assert (tmp_path / SHORT / "results" / "a.csv").read_bytes() == self.DATA

    def test_what_is_there_is_left_alone_and_what_differs_is_replaced(
        self, server: StandIn, call: Call, tmp_path: Path
    ) -> None:
        self.serve(server, "a", "b", "c")
        (tmp_path / "a").write_bytes(self.DATA)
        (tmp_path / "b").write_bytes(b"y" * 2048)
        out = call("get", RUN_ID, "-o", str(tmp_path), "--json")[1]
        assert [entry["state"] for entry in json.loads(out)] == ["present", "downloaded", "downloaded"]
        assert (tmp_path / "b").read_bytes() == self.DATA
        assert not server.sent(f"{BASE}/artifacts/a")

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            (["results/a.csv"], ["results/a.csv"]),
            (["./results/a.csv"], ["results/a.csv"]),
            (["results"], ["results/a.csv", "results/deep/b.txt"]),
            (["results/"], ["results/a.csv", "results/deep/b.txt"]),
            (["*.csv"], ["results/a.csv", "c.csv"]),
            (["results/*", "c.csv", "results/a.csv"], ["results/a.csv", "results/deep/b.txt", "c.csv"]),
        ],
    )
    def test_choosing(self, wanted: list[str], found: list[str], server: StandIn, call: Call, tmp_path: Path) -> None:
        self.serve(server, "results/a.csv", "results/deep/b.txt", "c.csv")
        out = call("get", RUN_ID, *wanted, "-o", str(tmp_path))[1]
        assert [line.split("\t")[1] for line in out.splitlines()] == [str(tmp_path / path) for path in found]

    def test_what_is_not_there(self, server: StandIn, call: Call, tmp_path: Path) -> None:
        self.serve(server, "results/a.csv")
        code, _, err = call("get", RUN_ID, "results/a.csv", "nothing", "-o", str(tmp_path / "new"))
        assert code == 4
        assert "'nothing'" in err
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "..", "", ".", "a\nb", "link/x", "a\0b", "a\x1bb"])
    def test_hostile_paths_are_refused_before_anything_is_written(
        self, path: str, server: StandIn, call: Call, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "link").symlink_to(tmp_path)
        server.on("GET", f"{BASE}/artifacts", page(artifact(path="good"), artifact(path=path)))
        code, _, err = call("get", RUN_ID, "-o", str(tmp_path / "out"))
        assert code == 1
        assert "refusing to write" in err
        assert {entry.name for entry in tmp_path.rglob("*")} == {"out", "link"}

    def test_on_a_terminal_with_a_bar(self, server: StandIn, call: Call, terminal: None, tmp_path: Path) -> None:
        self.serve(server, "a")
        assert call("get", RUN_ID, "-o", str(tmp_path))[0] == 0
        assert (tmp_path / "a").read_bytes() == self.DATA


class TestCatalog:
    def test_workflows(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/workflows", page(workflow(), workflow(name="b", error="line 3: broken")))
        assert call("workflows")[1] == (
            "quickstart\tFits a line.\tsha256:10e67f9378650123456789\t\n"
            "b\tFits a line.\tsha256:10e67f9378650123456789\tline 3: broken\n"
        )
        assert len(json.loads(call("workflows", "--json")[1])) == 2

    def test_the_configuration_of_one(self, server: StandIn, call: Call, terminal: None) -> None:
        server.on("GET", "/workflows/quickstart", reply(workflow()))
        _, out, _ = call("workflows", "quickstart")
        lines = [line.split() for line in out.splitlines()]
        assert ["batches", "integer", "12", "yes", "Jobs."] in lines
        assert ["model.seed", "integer", "1"] in lines

    @pytest.mark.parametrize(
        ("schema", "defaults", "lines"),
        [
            (None, {}, ""),
            ({"type": "object"}, {"a": True}, "a\tboolean\ttrue\tno\t\n"),
            ({"properties": {"a": {"type": ["string", "null"]}}}, {}, "a\tstring or null\t\tno\t\n"),
            ({"properties": {"a": {"enum": ["x", 1]}}}, {"a": ["l"]}, 'a\tone of x, 1\t["l"]\tno\t\n'),
            ({"properties": {"a": {"properties": {"b": {"default": 1}}}}}, {}, "a.b\tinteger\t1\tno\t\n"),
            ({"properties": [1], "required": "x"}, {"a": None}, "a\t\t\tno\t\n"),
            ({"properties": {"a": True}}, {"a": {}}, "a\t\t{}\tno\t\n"),
        ],
    )
    def test_odd_schemas(self, schema: Any, defaults: Any, lines: str, server: StandIn, call: Call) -> None:
        server.on("GET", "/workflows/x", reply(workflow(schema=schema, defaults=defaults)))
        assert call("workflows", "x")[1] == lines

    def test_a_broken_one_says_what_is_wrong(self, server: StandIn, call: Call) -> None:
        broken = workflow(schema=None, defaults={}, error="config.yaml, line 3: broken")
        server.on("GET", "/workflows/x", reply(broken))
        assert call("workflows", "x")[1:] == ("", "The workflow is broken: config.yaml, line 3: broken\n")

    def test_targets(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/targets", page(target(), target(name="slurm", executor="slurm", error="no such file")))
        assert call("targets")[1] == "local\tlocal\tThis machine.\t\nslurm\tslurm\tThis machine.\tno such file\n"
