"""Gates: their moves, the evidence that a decision is about, and the files that keep both."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway import gatefile
from snakeway.errors import Invalid
from snakeway.gatefile import REJECTED, WAITING, Decision, GateError, Request, Verdict
from snakeway.model import gate as rules
from snakeway.model.gate import GateState

S = GateState


def test_moves() -> None:
    assert {
        S.OPEN: {S.APPROVED, S.REJECTED, S.EXPIRED},
        S.APPROVED: {S.APPROVED, S.OPEN},
        S.REJECTED: {S.APPROVED, S.REJECTED, S.OPEN},
        S.EXPIRED: {S.OPEN},
    } == rules.MOVES


@pytest.mark.parametrize(
    ("state", "same", "then"),
    [
        (S.OPEN, True, S.OPEN),
        (S.OPEN, False, S.OPEN),
        (S.APPROVED, True, S.APPROVED),
        (S.APPROVED, False, S.OPEN),
        (S.REJECTED, True, S.REJECTED),
        (S.REJECTED, False, S.OPEN),
        (S.EXPIRED, True, S.OPEN),
        (S.EXPIRED, False, S.OPEN),
    ],
)
def test_new_evidence_opens_a_gate_again(state: GateState, same: bool, then: GateState) -> None:
    assert rules.asked_again(state, same_evidence=same) is then
    assert then is state or then in rules.MOVES[state]


NAMES = ["gates/p1.json", "gates/p2.json", "other/p2.json", "signed.json"]


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("gates/p1.json", "gates/p1.json"),
        ("p1", "gates/p1.json"),
        ("p1.json", "gates/p1.json"),
        ("p2", None),
        ("gates/p2", "gates/p2.json"),
        ("signed", "signed.json"),
        ("1", None),
        ("", None),
    ],
)
def test_a_gate_is_named_by_its_end(wanted: str, name: str | None) -> None:
    assert rules.find(NAMES, wanted) == name


def test_a_gate_that_is_not_there_is_told_with_those_that_are() -> None:
    assert "did you mean 'gates/p1.json'" in rules.not_found(NAMES, "gate/p1.json")
    assert "signed.json" in rules.not_found(NAMES, "zzz")
    assert "no gates" in rules.not_found([], "zzz")


def test_a_sentence_tells_what_is_waited_for() -> None:
    waiting = [(f"g{number}", S.OPEN, None, "") for number in range(7)]
    assert rules.sentence(waiting) == "Waits for a decision: g0, g1, g2, g3, g4 and 2 more."
    assert rules.sentence([("a", S.OPEN, None, ""), ("b", S.REJECTED, "eve", "blurred")]) == "eve rejected b: blurred"
    assert rules.sentence([("b", S.REJECTED, "eve", "")]) == "eve rejected b."
    assert rules.sentence([("b", S.EXPIRED, None, "")]) == "Nobody decided about b before its deadline."
    assert rules.sentence([("b", S.APPROVED, "eve", "")]) == "Goes on: everything was decided."


SCHEMA = {"type": "object", "required": ["threshold"], "properties": {"threshold": {"type": "number"}}}


@pytest.mark.parametrize(
    ("answer", "schema", "field"),
    [
        ({"threshold": 0.5}, SCHEMA, None),
        ({"threshold": "high"}, SCHEMA, "answer.threshold"),
        (None, SCHEMA, "answer"),
        ({"anything": 1}, None, None),
        (None, None, None),
        (None, {"type": "object"}, None),
        ({}, {"type": "unheard of"}, "answer"),
        ({}, {"$ref": "#/nowhere"}, "answer"),
        ({}, {"$ref": "#"}, "answer"),
        ({}, {"$ref": "file:///etc/hostname"}, "answer"),
        ({}, {"$ref": "http://127.0.0.1:9/x"}, "answer"),
        ({}, {"$schema": 5, "type": "object"}, "answer"),
        ({}, {"$id": "http://[", "$ref": "a"}, "answer"),
        ({"a": "x" * 70_000}, None, "answer"),
    ],
)
def test_answers_fit_the_schema(answer: Any, schema: dict[str, Any] | None, field: str | None) -> None:
    if field is None:
        rules.check_answer(answer, schema)
        return
    with pytest.raises(Invalid) as caught:
        rules.check_answer(answer, schema)
    assert caught.value.field == field


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with evidence, entered."""
    (tmp_path / "qc").mkdir()
    (tmp_path / "qc/p1.txt").write_text("good")
    (tmp_path / "qc/p2.txt").write_text("bad")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*paths: str, now: float = 100.0, deadline_s: float | None = None, schema: Path | None = None) -> Request:
    return gatefile.request_of("g.json", paths, title="?", schema=schema, now=now, deadline_s=deadline_s)


def decide(request: Request, verdict: Verdict = Verdict.APPROVED, answer: Any = None) -> Decision:
    return Decision(request.gate, request.digest, verdict, answer, "", "eve", 200.0)


def test_the_digest_is_that_of_names_and_contents(directory: Path) -> None:
    first = ask("qc/p1.txt")
    assert ask("qc").digest != first.digest
    assert [found.path for found in ask("qc").evidence] == ["qc/p1.txt", "qc/p2.txt"]
    os.utime("qc/p1.txt", (1, 1))
    assert ask("qc/p1.txt").digest == first.digest
    (directory / "qc/p1.txt").write_text("better")
    assert ask("qc/p1.txt").digest != first.digest


def test_a_question_about_the_same_keeps_its_time_until_it_has_run_out(directory: Path) -> None:
    assert gatefile.write_request(directory, ask("qc", now=100, deadline_s=50)).deadline_at == 150
    assert gatefile.write_request(directory, ask("qc", now=120, deadline_s=50)).deadline_at == 150
    assert gatefile.write_request(directory, ask("qc", now=160, deadline_s=50)).deadline_at == 210
    (directory / "qc/p1.txt").write_text("better")
    assert gatefile.write_request(directory, ask("qc", now=170, deadline_s=50)).deadline_at == 220


def test_files_are_read_as_they_were_written(directory: Path) -> None:
    request = gatefile.write_request(directory, ask("qc", deadline_s=5))
    assert gatefile.read_request(directory, "g.json") == request
    assert gatefile.requests(directory) == [request]
    decision = decide(request, answer={"threshold": 0.5})
    gatefile.write_decision(directory, decision)
    assert gatefile.read_decision(directory, "g.json") == decision
    assert gatefile.read_decision(directory, "other") is None


def test_another_answer_is_put_into_the_output(directory: Path) -> None:
    request = gatefile.write_request(directory, ask("qc"))
    gatefile.write_decision(directory, decide(request, answer=1))
    assert not (directory / "g.json").exists(), "the first answer is written by the gate itself"
    (directory / "g.json").write_text("1")
    gatefile.write_decision(directory, decide(request, answer=1))
    assert (directory / "g.json").read_text() == "1"
    gatefile.write_decision(directory, decide(request, answer=2))
    assert (directory / "g.json").read_text() == "2\n"


def test_an_output_elsewhere_is_never_written(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    victim = tmp_path_factory.mktemp("elsewhere") / "file"
    victim.write_text("precious")
    (directory / "link.json").symlink_to(victim)
    for name in (str(victim), os.path.relpath(victim, directory), "link.json"):
        for answer in (1, 2):
            gatefile.write_decision(directory, Decision(name, "d", Verdict.APPROVED, answer, "", "eve", 1.0))
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("text", ["", "[]", "null", '{"gate": 1}', "{" * 100_000])
def test_what_jobs_wrote_in_their_place_is_no_request_and_no_decision(directory: Path, text: str) -> None:
    folder = gatefile.folder_of(directory, "g.json")
    folder.mkdir(parents=True)
    for name in ("request.json", "decision.json"):
        (folder / name).write_text(text)
    assert gatefile.read_request(directory, "g.json") is None
    assert gatefile.read_decision(directory, "g.json") is None
    assert gatefile.requests(directory) == []


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_anything_may_stand_in_an_event(value: Any) -> None:
    if isinstance(value, dict):
        assert gatefile.request_from(value) is None


def test_a_pipe_in_the_place_of_an_output_is_replaced(directory: Path) -> None:
    request = gatefile.write_request(directory, ask("qc"))
    gatefile.write_decision(directory, decide(request, answer=1))
    os.mkfifo("g.json")
    gatefile.write_decision(directory, decide(request, answer=2))
    assert (directory / "g.json").read_text() == "2\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"gate": ""},
        {"gate": "語" * 300},
        {"gate": "a\nb"},
        {"digest": "x"},
        {"schema": {"properties": {"a": {"pattern": "^(a+)+$"}}}},
        {"schema": {"enum": ["x" * 70_000]}},
        {"asked_at": "soon"},
    ],
)
def test_requests_that_a_gate_would_not_make_are_none(directory: Path, changes: dict[str, Any]) -> None:
    good = asdict(ask("qc"))
    assert gatefile.request_from(good) is not None
    assert gatefile.request_from({**good, **changes}) is None


def test_bad_evidence_and_schemas_are_told(directory: Path) -> None:
    with pytest.raises(GateError, match=r"nowhere\.txt cannot be read"):
        ask("nowhere.txt")
    for text, said in (
        ("[1]", "must be an object"),
        ("{a: [", "neither JSON nor YAML"),
        ('{"a": "' + "x" * 70_000 + '"}', "larger"),
    ):
        (directory / "schema.json").write_text(text)
        with pytest.raises(GateError, match=said):
            ask(schema=directory / "schema.json")
    with pytest.raises(GateError, match="cannot be read"):
        ask(schema=directory / "none.json")
    (directory / "schema.yaml").write_text("type: object\n")
    assert ask(schema=directory / "schema.yaml").schema == {"type": "object"}
    many = directory / "many"
    many.mkdir()
    for number in range(1001):
        (many / str(number)).touch()
    with pytest.raises(GateError, match="more than 1000 files"):
        ask("many")


class TestCommand:
    def test_it_waits_then_writes_the_answer(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from snakeway.cli import main

        assert main(["gate", "out/g.json", "qc/p1.txt", "--title", "Good?", "--deadline", "1d"]) == WAITING
        assert "out/g.json waits for a decision: Good?" in capsys.readouterr().err
        assert main(["approve", "--directory", ".", "g", "--set", "threshold=0.5"]) == 0
        assert main(["gate", "out/g.json", "qc/p1.txt"]) == 0
        assert json.loads((directory / "out/g.json").read_text()) == {"threshold": 0.5}
        (directory / "qc/p1.txt").write_text("changed")
        assert main(["gate", "out/g.json", "qc/p1.txt"]) == WAITING
        assert "the evidence has changed" in capsys.readouterr().err
        assert main(["reject", "-d", ".", "-m", "blurred"]) == 0
        assert main(["gate", "out/g.json", "qc/p1.txt"]) == REJECTED
        assert "blurred" in capsys.readouterr().err

    def test_it_says_what_is_wrong(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from snakeway.cli import main

        assert main(["gate", "../g.json"]) == 2
        assert main(["gate", "g.json", "nowhere"]) == 2
        assert main(["gate", "g.json", "--deadline", "soon"]) == 2
        assert main(["approve", "-d", "."]) == 2
        assert main(["gate", "g.json"]) == WAITING
        assert main(["approve", "-d", ".", "h"]) == 4
        assert main(["approve", "-d", ".", "g", "h"]) == 2
        assert main(["approve", "-d", ".", "--answer", "none.json"]) == 2
        assert "Traceback" not in capsys.readouterr().err

    def test_gates_of_a_directory_are_listed(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from snakeway.cli import main

        main(["gate", "g.json", "qc", "--title", "Good?"])
        capsys.readouterr()
        assert main(["gates", "-d", "."]) == 0
        assert capsys.readouterr().out.split("\t")[1:3] == ["g.json", "open"]
        main(["approve", "-d", ".", "-q"])
        assert main(["gates", "-d", ".", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []
        assert main(["gates", "-d", ".", "--all"]) == 0
        assert "approved" in capsys.readouterr().out
