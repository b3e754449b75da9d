"""Inputs: their states, their names, and references to them in configurations."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway import ids
from snakeway.errors import Invalid, InvalidConfig
from snakeway.model.blob import check_key
from snakeway.model.input import (
    DEEPEST,
    MOST_INPUTS,
    MOVES,
    STORED,
    UNFINISHED,
    InputState,
    check_name,
    check_sha256,
    key_of,
    path_of,
    reference_to,
    references,
    resolved,
)

S = InputState
ALLOWED = {
    (S.UPLOADING, S.STORING),
    (S.UPLOADING, S.COMPLETE),
    (S.UPLOADING, S.REMOVING),
    (S.STORING, S.STORING),
    (S.STORING, S.UPLOADING),
    (S.STORING, S.COMPLETE),
    (S.STORING, S.REMOVING),
    (S.COMPLETE, S.REMOVING),
    (S.REMOVING, S.REMOVING),
}
DIGEST = "ab" * 32


@pytest.mark.parametrize(("old", "new"), list(itertools.product(InputState, repeat=2)))
def test_moves(old: InputState, new: InputState) -> None:
    assert (new in MOVES[old]) == ((old, new) in ALLOWED)


def test_kinds_of_states() -> None:
    assert {S.UPLOADING, S.STORING} == UNFINISHED
    assert {S.STORING, S.COMPLETE} == STORED


@pytest.mark.parametrize("name", ["samples.csv", "a", "_x", "Ä.tif", "a+b=c@d,e-f.fastq.gz", "x" * 200])
def test_a_name_is_part_of_paths_and_keys(name: str) -> None:
    assert check_name(name) == name
    check_key(path_of(name, DIGEST))
    assert path_of(name, DIGEST) == f"inputs/abababababab/{name}"


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "-rf", "a/b", "a b", "{sample}", "a\nb", "a\0", "a;b", "$x", "a*"),
        *("x" * 201, "Ä" * 101, "a\n", "a\u202eb", "../x", "a\\b", "~", "=x"),
    ],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(Invalid) as error:
        check_name(name)
    assert error.value.field == "name"


@given(st.text())
def test_any_name_that_passes_is_a_key_and_stays_in_its_folder(name: str) -> None:
    try:
        check_name(name)
    except Invalid:
        return
    assert check_key(path_of(name, DIGEST)).split("/") == ["inputs", DIGEST[:12], name]
    assert not set(name) & set("/\\{}*?[]$`'\"&|;<> \n\0")


@pytest.mark.parametrize("digest", ["", "ab", DIGEST.upper(), f"{DIGEST}\n", "g" * 64, f"sha256:{DIGEST}"])
def test_what_is_no_digest(digest: str) -> None:
    with pytest.raises(Invalid):
        check_sha256(digest)


def test_keys_are_of_one_owner() -> None:
    check_key(key_of("https://idp.example.org|../../x\0", DIGEST))
    assert key_of("ada", DIGEST) != key_of("bob", DIGEST)
    assert key_of("ada", DIGEST).endswith(f"/ab/{DIGEST}")


IDS = [f"0198c5b2-7d30-7c4e-9a55-0f6a3f1c2d1{digit}" for digit in "0af"]  # the same in every process
texts = st.sampled_from([reference_to(each) for each in IDS]) | st.text(max_size=8) | st.just("input:x")
configs = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    ),
)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


@given(configs)
def test_every_reference_is_found_and_replaced_and_nothing_else(config: dict[str, Any]) -> None:
    found = references(config)
    whole = [leaf for leaf in leaves(config) if isinstance(leaf, str) and leaf.removeprefix("input:") in IDS]
    assert set(found) == {text.removeprefix("input:") for text in whole if text.startswith("input:")}
    paths = {input_id: f"inputs/{number}" for number, input_id in enumerate(found)}
    after = resolved(config, paths)
    assert references(after) == {}
    wanted = {reference_to(input_id): path for input_id, path in paths.items()}
    assert leaves(after) == [wanted.get(leaf, leaf) if isinstance(leaf, str) else leaf for leaf in leaves(config)]
    assert resolved(config, {}) == config


def test_the_key_of_a_reference_is_told() -> None:
    config = {"a": {"b": ["x", reference_to(IDS[0])]}, "c": reference_to(IDS[1]), "d": reference_to(IDS[0])}
    assert references(config) == {IDS[0]: "a.b.1", IDS[1]: "c"}


@pytest.mark.parametrize("text", ["input:", "input:x", f" {reference_to(IDS[0])}", f"{reference_to(IDS[0])}\n"])
def test_other_texts_are_left_alone(text: str) -> None:
    assert references({"a": text}) == {}


def test_references_are_bounded() -> None:
    many = [reference_to(ids.new_id()) for _ in range(MOST_INPUTS)]
    assert len(references({"a": many})) == MOST_INPUTS
    with pytest.raises(InvalidConfig, match="at most 1000"):
        references({"a": [*many, reference_to(ids.new_id())]})
    deep: Any = "x"
    for _ in range(DEEPEST):
        deep = [deep]
    with pytest.raises(InvalidConfig, match="nested"):
        references({"a": deep})
