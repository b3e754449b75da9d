"""How outputs are named, and which of them were asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.errors import Invalid
from snakeway.model.artifact import Kind, kind_of, path_in_storage
from snakeway.model.blob import FolderLocation, S3Location, check_key, location_of

PLACE = location_of("s3://lab/runs/1?endpoint=http://s3.example.org:9000")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.txt", Kind.TARGET),
        ("folder/a.txt", Kind.TARGET),
        ("folder/deep/a.txt", Kind.TARGET),
        ("folder", Kind.TARGET),
        ("folder.txt", Kind.INTERMEDIATE),
        ("other/a.txt", Kind.INTERMEDIATE),
        ("other/folder/a.txt", Kind.INTERMEDIATE),
    ],
)
def test_a_file_is_a_target_if_it_or_a_folder_above_it_was_asked_for(path: str, kind: Kind) -> None:
    assert kind_of(path, {"a.txt", "folder"}) is kind


def test_nothing_was_asked_for() -> None:
    assert kind_of("a.txt", set()) is Kind.INTERMEDIATE


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("s3://lab/runs/1/a.txt", "a.txt"),
        ("s3://lab/runs/1/deep/ü b%20.txt", "deep/ü b%20.txt"),
        ("s3://lab/runs/1//deep/./a.txt", "deep/a.txt"),
        ("s3://lab/runs/1/deep/../a.txt", "a.txt"),
        ("s3://lab/runs/1/a.txt?x#y", "a.txt"),  # so the plugin stores it
        ("s3://lab/runs/1/../2/a.txt", None),
        ("s3://lab/runs/10/a.txt", None),
        ("s3://lab/runs/1", None),
        ("s3://lab/runs/1/", None),
        ("s3://lab/a.txt", None),
        ("s3://other/runs/1/a.txt", None),
        ("s3://me@lab/runs/1/a.txt", None),
        ("gs://lab/runs/1/a.txt", None),
        ("s3://lab/runs/1/" + "x" * 300, None),
        ("s3://[lab/runs/1/a.txt", None),
        ("runs/1/a.txt", None),
    ],
)
def test_only_what_lies_below_the_place_of_the_run_is_its_own(output: str, path: str | None) -> None:
    assert path_in_storage(output, PLACE) == path


def test_a_folder_has_no_outputs_that_are_named_by_addresses(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = FolderLocation(tmp_path_factory.getbasetemp())
    assert path_in_storage("file:///etc/passwd", folder) is None


@given(st.text(st.sampled_from("ab./%?#:@ \\\n\0é"), max_size=30), st.sampled_from(["", "runs/1/"]))
def test_no_output_gets_out_of_its_place(rest: str, prefix: str) -> None:
    path = path_in_storage(f"s3://lab/{prefix}{rest}", S3Location("lab", prefix))
    if path is not None:
        assert ".." not in path.split("/")
        assert check_key(path) == path


@given(st.text(max_size=40))
def test_any_text_is_an_output_or_none(text: str) -> None:
    path = path_in_storage(text, PLACE)
    if path is not None:
        try:
            check_key(path)
        except Invalid:
            pytest.fail(f"{path!r} cannot be a key")
