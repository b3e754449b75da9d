import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import update_config

from snakeway.catalog import schema
from snakeway.catalog.schema import Checker, check_plain, check_schema, merge
from snakeway.errors import InvalidConfig, InvalidWorkflow

KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
CONFIGS = st.dictionaries(KEYS, VALUES, max_size=3)


@given(defaults=CONFIGS, config=CONFIGS)
def test_merging_is_what_snakemake_does(defaults: dict[str, Any], config: dict[str, Any]) -> None:
    expected = copy.deepcopy(defaults)
    update_config(expected, copy.deepcopy(config))
    before = copy.deepcopy((defaults, config))
    assert merge(defaults, config) == expected
    assert (defaults, config) == before


def test_a_merged_configuration_shares_nothing_with_its_parts() -> None:
    defaults, config = {"a": {"b": [1]}}, {"c": {"d": [2]}}
    merged = merge(defaults, config)
    merged["a"]["b"].append(3)
    merged["c"]["d"].append(3)
    assert (defaults, config) == ({"a": {"b": [1]}}, {"c": {"d": [2]}})


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("config", "field", "sentence"),
    [
        ([], "config", "must be an object"),
        ({"a": {"b": float("nan")}}, "a.b", "must be a finite number, not nan"),
        ({"a": [1, float("inf")]}, "a.1", "must be a finite number, not inf"),
        ({"a": {1: 2}}, "a", "keys must be text"),
        ({1: 2}, "config", "keys must be text"),
        (nested(21), "a" + ".a" * 20, "nested more than 20 levels"),
        (nested(100_000), None, "nested more than 20 levels"),
        ({"a": "x" * 70_000}, "config", "more than 65536; put large tables into files"),
        ({"a": "\ud800"}, "a", "surrogate"),
        ({"a": "x\0"}, "a", "NUL"),
        ({"x\0": "a"}, "config", "NUL"),
        ({"a": 10**30}, "a", "write it as text"),
        ({"a": b"x"}, "a", "is a bytes, which JSON does not have"),
        ({"a": (1, 2)}, "a", "is a tuple, which JSON does not have"),
    ],
    ids=range(14),
)
def test_what_is_no_proper_json_is_refused(config: Any, field: str | None, sentence: str) -> None:
    with pytest.raises(InvalidConfig, match=sentence) as caught:
        check_plain(config)
    assert field is None or caught.value.field == field
    assert len(caught.value.detail) < 300


def test_what_is_proper_json_is_taken() -> None:
    config = nested(20) | {"ä": ["€", -1.5, None, True, 2**62, "\U0001f40d"]}
    assert check_plain(config) is config


SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["samples"],
    "properties": {
        "samples": {"type": "string"},
        "threads": {"type": "integer", "minimum": 1, "exclusiveMaximum": 65},
        "mode": {"enum": ["fast", "exact"]},
        "version": {"const": 2},
        "ratio": {"type": ["number", "null"]},
        "code": {"pattern": "^[a-z]+$"},
        "list": {"type": "array", "items": {"type": "object", "required": ["name"]}, "minItems": 1},
        "trimming": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"adapter": {"type": "string"}, "quality": {"type": "integer"}},
        },
        "either": {"anyOf": [{"type": "integer"}, {"type": "object", "required": ["x"]}]},
        "nothing": {"type": "object", "additionalProperties": False},
    },
}


def check(config: dict[str, Any], rules: dict[str, Any] = SCHEMA, folder: Path = Path()) -> None:
    Checker(rules, folder, "workflow/schemas/config.schema.yaml").check(config)


def outcome(checker: Checker, config: dict[Any, Any]) -> str:
    try:
        checker.check(config)
    except InvalidConfig as error:
        return str(error)
    return "it fits"


@pytest.mark.parametrize(
    ("fits", "like_it"), [({1: "x"}, {"1": "x"}), ({"1": 1}, {"1": True}), ({"1": 1}, {"1": "1"}), ({}, {"a": None})]
)
def test_what_was_checked_before_makes_no_difference(fits: dict[Any, Any], like_it: dict[Any, Any]) -> None:
    checker = Checker({"properties": {"a": {"type": "string"}, "1": {"type": "integer"}}}, Path(), "schema.yaml")
    for _ in range(2):
        checker.check(fits)
        assert "must be" in outcome(checker, like_it)


def test_what_is_known_to_fit_is_not_looked_at_again_and_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Any] = []
    monkeypatch.setattr(schema, "best_match", looks.append)
    monkeypatch.setattr(schema, "_REMEMBERED", 2)
    checker = Checker(SCHEMA, Path(), "schema.yaml")
    for number in (1, 1, 2, 1, 3, 1):
        checker.check({"threads": number})
    assert len(looks) == 4


def test_a_configuration_that_fits_is_taken() -> None:
    check({"samples": "a.tsv", "threads": 4, "mode": "fast", "version": 2, "ratio": None, "list": [{"name": 1}]})


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"samples": None}, "samples", "the setting 'samples' must be text, not null"),
        ({"sampels": 1}, "sampels", "there is no setting 'sampels'; did you mean 'samples'?"),
        ({"trimming": {"adaptor": ""}}, "trimming.adaptor", "did you mean 'trimming.adapter'?"),
        ({"zzz": 1}, "zzz", "there is no setting 'zzz'; the settings here are code, either, list, mode,"),
        ({"nothing": {"a": 1}}, "nothing.a", "no settings are allowed here"),
        ({"threads": "4"}, "threads", "the setting 'threads' must be a whole number, not \"4\""),
        ({"threads": 0}, "threads", "must be at least 1, not 0"),
        ({"threads": 65}, "threads", "must be less than 65, not 65"),
        ({"mode": "slow"}, "mode", 'must be one of "fast", "exact", not "slow"'),
        ({"version": 1}, "version", "must be 2, not 1"),
        ({"ratio": "x"}, "ratio", 'must be a number or null, not "x"'),
        ({"code": "A"}, "code", 'must match the pattern ^[a-z]+$, which "A" does not'),
        ({"list": [{"name": 1}, {}]}, "list.1.name", "the setting 'list.1.name' is missing; add it"),
        ({"list": []}, "list", "the setting 'list' does not fit the workflow"),
        ({"either": {}}, "either.x", "missing"),
        ({"samples": ["x" * 1000]}, "samples", "must be text, not"),
    ],
)
def test_an_error_names_the_key_and_says_what_is_wanted(change: dict[str, Any], field: str, sentence: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        check({"samples": "a.tsv"} | change)
    assert sentence in caught.value.detail
    assert caught.value.field == field
    assert len(caught.value.detail) < 300


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InvalidConfig, match="'samples' is missing") as caught:
        check({})
    assert caught.value.field == "samples"


def test_a_wrong_root_is_said_without_a_key() -> None:
    with pytest.raises(InvalidConfig, match="the configuration") as caught:
        check({"a": 1}, {"maxProperties": 0})
    assert caught.value.field == "config"


def test_defaults_of_properties_count_as_given_and_are_not_added() -> None:
    rules = {"properties": {"a": {"default": {"b": 1}, "required": ["b"]}}, "required": ["a"]}
    config: dict[str, Any] = {}
    check(config, rules)
    assert config == {}


def test_the_draft_is_the_one_the_schema_names() -> None:
    rules = {"properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}}
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", **rules}
    assert check_schema(draft4, Path(), "s") is draft4
    with pytest.raises(InvalidConfig):
        check({"a": 1}, draft4)
    with pytest.raises(InvalidWorkflow):
        check_schema(rules, Path(), "s")
    check({"a": 1}, {"$schema": "https://elsewhere.example/unknown"})


def test_references_between_files_of_the_workflow_are_followed(tmp_path: Path) -> None:
    (tmp_path / "workflow/schemas").mkdir(parents=True)
    (tmp_path / "workflow/schemas/defs.yaml").write_text("$defs: {name: {type: string}}")
    (tmp_path / "shared.json").write_text('{"type": "integer"}')
    rules = {
        "$id": "https://elsewhere.example/config.schema.yaml",
        "properties": {
            "a": {"$ref": "defs.yaml#/$defs/name"},
            "b": {"$ref": "../../shared.json"},
            "c": {"$ref": "#/$defs/c"},
        },
        "$defs": {"c": {"const": 1}},
    }
    check({"a": "x", "b": 1, "c": 1}, rules, tmp_path)
    for wrong in ({"a": 1}, {"b": "x"}, {"c": 2}):
        with pytest.raises(InvalidConfig):
            check(wrong, rules, tmp_path)


@pytest.mark.parametrize(
    "reference",
    [
        "https://elsewhere.example/schema.json",
        "file:///etc/passwd",
        "../../../../../etc/hostname",
        "%2e%2e/%2e%2e/%2e%2e/x.json",
        "//elsewhere.example/x",
        "#/$defs/missing",
        "missing.yaml",
    ],
)
def test_other_references_are_not_followed(tmp_path: Path, reference: str) -> None:
    with pytest.raises(InvalidWorkflow):
        check({"a": 1}, {"properties": {"a": {"$ref": reference}}}, tmp_path / "w")


def test_a_broken_file_that_is_referred_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "workflow/schemas").mkdir(parents=True)
    (tmp_path / "workflow/schemas/defs.yaml").write_text("a: [")
    with pytest.raises(InvalidWorkflow, match=r"workflow/schemas/defs\.yaml, line 1"):
        check({"a": "x"}, {"properties": {"a": {"$ref": "defs.yaml"}}}, tmp_path)


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("urllib.request.urlopen", opened)
    with pytest.raises(InvalidWorkflow, match="nothing is fetched"):
        check({"a": 1}, {"properties": {"a": {"$ref": "https://elsewhere.example/s"}}}, tmp_path)


def test_schemas_that_cannot_be_applied_are_the_workflows_fault(tmp_path: Path) -> None:
    with pytest.raises(InvalidWorkflow, match="without end"):
        check({"a": 1}, {"$ref": "#"}, tmp_path)
    with pytest.raises(InvalidWorkflow, match="no regular expression"):
        check({"a": "x"}, {"properties": {"a": {"pattern": "["}}}, tmp_path)


def test_a_schema_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    rules = {"type": "object", "properties": {"a": {"type": "sting"}}}
    (tmp_path / "s.yaml").write_text("type: object\nproperties:\n  a:\n    type: sting\n")
    with pytest.raises(InvalidWorkflow, match=r"s\.yaml, line 4: this is not a JSON Schema: 'sting'"):
        check_schema(rules, tmp_path, "s.yaml")
    with pytest.raises(InvalidWorkflow, match="a schema is a mapping"):
        check_schema([], tmp_path, "s.yaml")


def test_the_size_counts_as_it_is_sent() -> None:
    config = {"a": "ä" * (schema.MAX_BYTES // 2 - 4)}
    assert len(json.dumps(config, ensure_ascii=False, separators=(",", ":")).encode()) == schema.MAX_BYTES
    check_plain(config)
    with pytest.raises(InvalidConfig):
        check_plain({"a": config["a"] + "b"})
