"""Uploads, against a stand-in server."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_cli_stand_in import Call
from tests.unit.test_client_nouns import OTHER_ID, RUN_ID, input_, run, target, workflow
from tests.unit.test_client_stand_in import StandIn, page, problem, reply

pytest_plugins = ("tests.unit.test_cli_stand_in",)

REFERENCE = f"input:{OTHER_ID}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("a")
    return tmp_path / "a.txt"


@pytest.fixture
def taking(server: StandIn) -> StandIn:
    """A server that has everything already."""
    return server.on("POST", "/inputs", reply(input_()))


def test_the_reference_is_printed(taking: StandIn, call: Call, file: Path) -> None:
    assert call("upload", str(file)) == (0, f"{REFERENCE}\t{file}\n", "")
    assert json.loads(call("upload", str(file), "--json")[1])[0]["reference"] == REFERENCE
    assert call("upload", str(file), "--name", "b")[0] == 0
    assert [request.body["name"] for request in taking.requests] == ["a.txt", "a.txt", "b"]


def test_names_are_composed(taking: StandIn, call: Call, tmp_path: Path) -> None:
    (tmp_path / "A\u0308.txt").write_text("a")
    assert call("upload", str(tmp_path / "A\u0308.txt"))[0] == 0
    assert taking.requests[0].body["name"] == "\u00c4.txt"


def test_what_cannot_be_uploaded(server: StandIn, call: Call, file: Path, tmp_path: Path) -> None:
    assert "none: No such file" in call("upload", str(tmp_path / "none"))[2]
    code, _, err = call("upload", str(file), str(file), "--name", "b")
    assert (code, "one name" in err) == (2, True)
    server.on("POST", "/inputs", problem("invalid_request", 400, "no; give it another name", field="name"))
    code, _, err = call("upload", str(file))
    assert (code, err) == (2, "snakeway: error: no; give it another name with --name\n")
    server.on("POST", "/inputs", problem("quota_exceeded", 409, "full"))
    assert call("upload", str(file))[0] == 7


def test_a_list(server: StandIn, call: Call) -> None:
    server.on("GET", "/inputs", page(input_()))
    line = f"{REFERENCE}\tcomplete\t2048\t2048\t2026-01-02T03:04:05Z\ta.txt\t{'ab' * 32}\n"
    assert call("inputs") == (0, line, "")
    assert json.loads(call("inputs", "--json")[1]) == [input_()]


def test_a_table(server: StandIn, call: Call, terminal: None) -> None:
    server.on("GET", "/inputs", page(input_(), input_(state="uploading", offset=1024)))
    out = call("inputs")[1]
    assert "2.0 KiB" in out
    assert "50 %" in out
    server.on("GET", "/inputs", page())
    assert "'snakeway upload FILE' makes one" in call("inputs")[2]


def test_some_are_deleted(server: StandIn, call: Call) -> None:
    server.on("DELETE", f"/inputs/{OTHER_ID}", lambda handler: handler.send(204, b"", {}))
    assert call("inputs", "--rm", REFERENCE, "--rm", OTHER_ID) == (
        0,
        f"removed\t{REFERENCE}\nremoved\t{OTHER_ID}\n",
        "",
    )
    server.on("DELETE", f"/inputs/{OTHER_ID}", problem("input_in_use", 409, "runs use it"))
    assert call("inputs", "--rm", REFERENCE)[0] == 7


def test_a_submission_uploads_its_files(taking: StandIn, call: Call, file: Path) -> None:
    taking.on("POST", "/runs", reply(run(state="queued"), 201))
    taking.on("GET", "/workflows/w", reply(workflow())).on("GET", "/targets", page(target()))
    code, out, err = call("submit", "w", "-c", "a.b=1", "-i", f"a.c={file}", "--input", f"x={file}")
    assert (code, out, err) == (0, f"{RUN_ID}\n", "")
    assert taking.requests[-1].body["config"] == {"a": {"b": 1, "c": REFERENCE}, "x": REFERENCE}


def test_names_are_checked_before_anything_is_sent(server: StandIn, call: Call, file: Path) -> None:
    server.on("GET", "/workflows/w", problem("workflow_not_found", 404, "there is no workflow 'w'"))
    server.on("GET", "/targets", page(target()))
    assert call("submit", "w", "-i", f"x={file}") == (4, "", "snakeway: error: there is no workflow 'w'\n")
    server.on("GET", "/workflows/w", reply(workflow()))
    code, _, err = call("submit", "w", "--target", "nowhere", "-i", f"x={file}")
    assert (code, "there is no target 'nowhere'" in err) == (4, True)
    server.on("GET", "/targets", page(target(name="here", error="not usable")))
    assert "did you mean 'here'?" in call("submit", "w", "--target", "heer", "-i", f"x={file}")[2]
    assert "target 'here': not usable" in call("submit", "w", "--target", "here", "-i", f"x={file}")[2]
    server.on("GET", "/workflows/w", reply(workflow(error="a tab")))
    assert "workflow 'w': a tab" in call("submit", "w", "-i", f"x={file}")[2]
    assert {request.method for request in server.requests} == {"GET"}


def test_files_are_looked_for_before_anything_is_sent(server: StandIn, call: Call, file: Path) -> None:
    code, _, err = call("submit", "w", "-i", f"x={file}", "-i", "y=none.txt")
    assert (code, "none.txt: No such file" in err, server.requests) == (1, True, [])


def test_a_known_key_needs_no_workflow_any_more(taking: StandIn, call: Call, file: Path) -> None:
    taking.on("POST", "/runs", reply(run(), 200))
    assert call("submit", "gone", "-i", f"x={file}", "--idempotency-key", "k")[:2] == (0, f"{RUN_ID}\n")


def test_an_interrupted_upload_says_how_to_go_on(server: StandIn, call: Call, file: Path) -> None:
    def interrupt(handler: Any) -> None:
        signal.raise_signal(signal.SIGINT)  # Python raises it in the main thread, which waits for the answer
        reply(input_(state="uploading", offset=0, size_bytes=1), 201)(handler)

    server.on("POST", "/inputs", interrupt)
    code, _, err = call("upload", str(file))
    assert (code, err) == (130, f"{file} is not complete; the same command goes on where this one was\n")


@pytest.mark.parametrize("text", ["x", "=x", "x=", ".x=a"])
def test_a_submission_says_which_files(server: StandIn, call: Call, text: str) -> None:
    code, _, err = call("submit", "w", "-i", text)
    assert (code, "--input" in err) == (2, True)
    assert server.requests == []
