"""From the text of options to values."""

import contextlib
import json
import string
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakeway.cli import flow, values
from snakeway.errors import Invalid

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)

numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | st.text()
anything = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("null", None),
        ("~", None),
        ("", ""),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("a b", "a b"),
        ("a=b", "a=b"),
        ("4GB", "4GB"),
        ("results/x.csv", "results/x.csv"),
        ('"12"', "12"),
        ("'12'", "12"),
        ("'it''s'", "it's"),
        ("'", "'"),
        ("2026-01-01", "2026-01-01"),
        ("[1, true, null]", [1, True, None]),
        ("[Adelie, Gentoo]", ["Adelie", "Gentoo"]),
        ("[a b, 'c, d', \"e\", 007, ]", ["a b", "c, d", "e", "007"]),
        ("[]", []),
        ("{}", {}),
        ('{"a": {"b": [1]}}', {"a": {"b": [1]}}),
        ("{a: 1, b: [x, y], c: {d: e f}, g:}", {"a": 1, "b": ["x", "y"], "c": {"d": "e f"}, "g": None}),
        ("[s3://bucket/key, a:b]", ["s3://bucket/key", "a:b"]),
        ("[[1, 2], [3]]", [[1, 2], [3]]),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = values.scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    ["[1, 2", "{a: 1", "{a}", "[a: b]", "[1] 2", '"open', "['open]", "[&anchor]", "{a: 1 b: 2}", "[{]}", "[" * 100_000],
)
def test_broken_collections(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        values.config([f"key={text}"])
    assert caught.value.field == "--config"
    assert caught.value.detail.startswith("key: ")


@unhurried
@given(anything)
def test_any_json_is_read_as_itself(value: Any) -> None:
    if isinstance(value, str):
        value = [value]
    assert values.scalar(json.dumps(value)) == value


plain = st.text(string.ascii_letters + string.digits + " ._/-+", min_size=1).map(str.strip).filter(bool)
flow_lists = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8
).filter(lambda value: not isinstance(value, str))


def as_flow(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(as_flow, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_flow(inner)}" for key, inner in value.items()) + "}"
    return str(value)


@unhurried
@given(flow_lists)
def test_lines_of_yaml_are_read_as_yaml_reads_them(value: Any) -> None:
    text = as_flow(value)
    try:
        expected = yaml.load(text, Loader=yaml.BaseLoader)  # every value as text
    except yaml.YAMLError:
        return

    def as_text(found: Any) -> Any:
        if isinstance(found, list):
            return [as_text(inner) for inner in found]
        return {key: as_text(inner) for key, inner in found.items()} if isinstance(found, dict) else found

    assert as_text(flow.read(text, str)) == expected


@unhurried
@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(Invalid):
        json.dumps(values.scalar(text), allow_nan=False)


@pytest.mark.parametrize(
    ("assignments", "config"),
    [
        ([], {}),
        (["a=1"], {"a": 1}),
        (["a.b=1", "a.c=2"], {"a": {"b": 1, "c": 2}}),
        (["a.b.c=x"], {"a": {"b": {"c": "x"}}}),
        (["a=1", "a=2"], {"a": 2}),
        (['a={"b": 1}', "a.c=2"], {"a": {"b": 1, "c": 2}}),
        (["a.b=1", "a=2"], {"a": 2}),
        (["a=x=y"], {"a": "x=y"}),
        (["a="], {"a": ""}),
    ],
)
def test_assignments(assignments: list[str], config: dict[str, Any]) -> None:
    assert values.config(assignments) == config


@pytest.mark.parametrize("assignment", ["a", "=1", "", ".a=1", "a.=1", "a..b=1"])
def test_broken_assignments(assignment: str) -> None:
    with pytest.raises(Invalid, match="KEY=VALUE"):
        values.config([assignment])


def test_a_value_has_no_members() -> None:
    with pytest.raises(Invalid, match="a is 1 already"):
        values.config(["a=1", "a.b=2"])


trees = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3), max_leaves=8).filter(
    lambda value: isinstance(value, dict)
)


def paths(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in tree.items():
        found += paths(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


@unhurried
@given(trees)
def test_any_object_can_be_written_with_dots(tree: Any) -> None:
    assert values.config(f"{path}={json.dumps(value)}" for path, value in paths(tree)) == tree


@unhurried
@given(trees, trees)
def test_merging_keeps_what_is_not_named(base: Any, over: Any) -> None:
    merged = values.merge(base, over, field="x")
    assert values.merge(merged, over, field="x") == merged
    assert base.keys() | over.keys() == merged.keys()
    for key in base.keys() - over.keys():
        assert merged[key] == base[key]


class TestConfigFile:
    def write(self, tmp_path: Path, name: str, text: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    @pytest.mark.parametrize(
        ("name", "text", "config"),
        [
            ("c.json", '{"a": [1]}', {"a": [1]}),
            ("c.yaml", "a: [x, 1]\nb:\n  1: y\n", {"a": ["x", 1], "b": {"1": "y"}}),
            ("c.yaml", '{"a": 1}', {"a": 1}),
            ("c.yaml", "", {}),
            ("c.yaml", "# nothing\n", {}),
        ],
    )
    def test_good(self, name: str, text: str, config: dict[str, Any], tmp_path: Path) -> None:
        assert values.config_file(self.write(tmp_path, name, text)) == config

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("c.json", "{a: 1}", "is not JSON"),
            ("c.json", '{"a": NaN}', "is not JSON"),
            ("c.json", "[1]", "must hold one object"),
            ("c.yaml", "a: [", "not valid YAML"),
            ("c.yaml", "a: 2026-01-01", "JSON cannot hold"),
            ("c.yaml", "a: .inf", "JSON cannot hold"),
            ("c.yaml", "text", "must hold one object"),
            ("c.yaml", "a: !!python/object:os.system x", "not valid YAML"),
            ("c.yaml", "&a {b: *a}", "JSON cannot hold"),
            ("c.yaml", b"\xff\xfe\xff", "not a text file"),
        ],
    )
    def test_broken(self, name: str, text: str | bytes, said: str, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match=said) as caught:
            values.config_file(self.write(tmp_path, name, text))
        assert caught.value.field == "--configfile"

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match="No such file"):
            values.config_file(tmp_path / "none.yaml")
        with pytest.raises(Invalid, match="Is a directory"):
            values.config_file(tmp_path)

    def test_yaml_without_the_package_says_what_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "yaml", None)
        with pytest.raises(Invalid, match="pip install pyyaml"):
            values.config_file(self.write(tmp_path, "c.yaml", "a: 1\n"))
        assert values.config_file(self.write(tmp_path, "c.yaml", '{"a": 1}')) == {"a": 1}


@pytest.mark.parametrize(
    ("assignments", "resources"),
    [
        ([], {}),
        (["a:mem_mb=100"], {"a": {"mem_mb": 100}}),
        (["a:mem_mb=100", "a:runtime=2h", "b:gpu=1"], {"a": {"mem_mb": 100, "runtime": "2h"}, "b": {"gpu": 1}}),
        (["a:x=a:b=c"], {"a": {"x": "a:b=c"}}),
        (["a:x=-1"], {"a": {"x": "-1"}}),
        (["a:x=²"], {"a": {"x": "²"}}),
    ],
)
def test_resources(assignments: list[str], resources: dict[str, Any]) -> None:
    assert values.resources(assignments) == resources


@pytest.mark.parametrize("assignment", ["", "a", "a=1", "a:b", "a:=1", ":b=1", "a:b="])
def test_broken_resources(assignment: str) -> None:
    with pytest.raises(Invalid, match="RULE:NAME=VALUE"):
        values.resources([assignment])


def test_threads() -> None:
    assert values.threads(["a=1", "b=16"]) == {"a": 1, "b": 16}
    for broken in ("", "a", "a=", "=1", "a=x", "a=-1", "a=1.5", "a=²", "a=1234567"):
        with pytest.raises(Invalid, match="RULE=N"):
            values.threads([broken])


def test_labels() -> None:
    assert values.labels(["a=1", "b=", "c=x=y"]) == {"a": "1", "b": "", "c": "x=y"}
    for broken in ("", "a", "=1"):
        with pytest.raises(Invalid, match="KEY=VALUE"):
            values.labels([broken])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", "2026-03-04T10:00:00Z"),
        ("30m", "2026-03-04T11:30:00Z"),
        ("90 s", "2026-03-04T11:58:30Z"),
        ("1.5d", "2026-03-03T00:00:00Z"),
        ("1w", "2026-02-25T12:00:00Z"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
        ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00Z"),
    ],
)
def test_points_in_time(text: str, moment: str) -> None:
    assert values.point_in_time(text, NOW) == moment


def test_a_date_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    assert values.point_in_time("2026-01-31", NOW).startswith(("2026-01-30T", "2026-01-31T"))


@pytest.mark.parametrize("text", ["", "h", "2", "2y", "yesterday", "-2h", "2026-13-01", "999999w", "²h"])
def test_what_is_no_point_in_time(text: str) -> None:
    with pytest.raises(Invalid, match="neither a span"):
        values.point_in_time(text, NOW)
