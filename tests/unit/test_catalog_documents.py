import os
from pathlib import Path
from typing import Any

import pytest

from snakeway.catalog import documents
from snakeway.errors import InvalidWorkflow


def read(folder: Path, text: str | bytes, name: str = "config.yaml") -> Any:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return documents.read(folder, name, InvalidWorkflow)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: [1, 2.5, true, null, x]", {"a": [1, 2.5, True, None, "x"]}),
        ("day: 2024-02-01\nat: 2024-02-01 10:00:00", {"day": "2024-02-01", "at": "2024-02-01T10:00:00"}),
        ("7: a\ntrue: b\n2024-02-01: c", {"7": "a", "true": "b", "2024-02-01": "c"}),
        ("base: &b {x: 1}\nother: {<<: *b, y: 2}", {"base": {"x": 1}, "other": {"x": 1, "y": 2}}),
        ('\ufeff{"a": 1}', {"a": 1}),
    ],
)
def test_values_become_what_json_can_carry(tmp_path: Path, text: str, value: object) -> None:
    assert read(tmp_path, text) == value


def test_nothing_is_shared_between_the_places_of_an_alias(tmp_path: Path) -> None:
    value = read(tmp_path, "a: &a [1]\nb: *a\n")
    value["a"].append(2)
    assert value["b"] == [1]


def laughs(levels: int) -> str:
    lines = ["l0: &l0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merges(levels: int) -> str:
    lines = ["m0: &m0 {a: 1, b: 2, c: 3}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: [1,\nc: 2\n", r"config.yaml, line \d: .*; correct the file"),
        ("a: 1\n\tb: 2\n", "config.yaml, line 2"),
        ("a: !!python/object/apply:os.system [id]", "config.yaml, line 1: could not determine a constructor"),
        (laughs(9), "stands for more than 100000 values"),
        (merges(9), "too many merged keys"),
        ("a: &a [*a]", "nested more than 50 levels deep"),
        ("[" * 100_000, "config.yaml, line 1: it is nested more than 50"),
        ("a: " + "1:" * 100_000 + "1", "a number is too long"),
        ("a: 0x" + "f" * 10_000, "a number is too long"),
        ("a: 1\nb: {c: .inf}\n", "config.yaml, line 2: a number that is not finite"),
        ("a: 2024-99-99", "config.yaml: month must be in"),
        ("a: !!set {x, y}", "config.yaml, line 1: a set has no form in JSON"),
        ("? [a, b]\n: c", "config.yaml, line 1"),
        (b"a: 1\nb: \xff\n", "config.yaml, line 2: it is not UTF-8"),
        ("a: \x07", "config.yaml, line 1"),
        ("a: 1\n---\nb: 2\n", "config.yaml, line 2"),
        ("a" * (documents.MAX_BYTES + 1), "larger than 1024 KiB"),
    ],
    ids=lambda text: None if len(str(text)) > 60 else str(text),
)
def test_a_broken_or_hostile_file_is_refused_in_one_sentence(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(InvalidWorkflow, match=reason) as caught:
        read(tmp_path, text)
    assert "\n" not in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1,\n"b" 2}', "s.json, line 2: Expecting"),
        ('{"a": NaN}', "s.json, line 1: a number that is not finite"),
        ("[" * 100_000, "s.json: it is nested more than 50"),
        ('{"a": ' + "9" * 5000 + "}", "s.json"),
    ],
)
def test_broken_json_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidWorkflow, match=reason):
        read(tmp_path, text, "s.json")


def test_a_line_is_found_by_the_path_to_its_value(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# x\na:\n  b:\n    - 1\n    - c: 2\n")
    assert documents.line_of(tmp_path, "a.yaml", ["a", "b", 1, "c"]) == 5
    assert documents.line_of(tmp_path, "a.yaml", ["a", "gone"]) == 2
    assert documents.line_of(tmp_path, "missing.yaml", []) is None


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml", "missing.yaml"):
        with pytest.raises(InvalidWorkflow, match=name):
            documents.read(tmp_path, name, InvalidWorkflow)
