"""The logger plugin finds Snakemake's marker files, and believes only what they can tell."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.persistence.file import FilePersistence

from snakemake_logger_plugin_snakeway.markers import Marker, Markers

OUTPUTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=700)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    for kind in ("incomplete", "metadata"):
        (made / ".snakemake" / kind).mkdir(parents=True)
    return made


def place(directory: Path, kind: str, output: str, content: str) -> Path:
    """Write a file where Snakemake's own persistence would."""
    persistence = SimpleNamespace(_fetch_max_len=lambda folder: os.pathconf(folder, "PC_NAME_MAX"))
    path = Path(FilePersistence._record_path(persistence, str(directory / ".snakemake" / kind), output))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (1000.0, 1000.0))
    return path


@settings(deadline=None)
@given(OUTPUTS, st.none() | st.text("0123456789") | st.integers(0, 10**9))
def test_markers_lie_where_snakemake_puts_them(directory: Path, output: str, external_id: str | int | None) -> None:
    path = place(directory, "incomplete", output, json.dumps({"external_jobid": external_id}))
    told = None if external_id is None else str(external_id)
    assert Markers(directory).incomplete(output) == Marker(1000.0, told)
    path.unlink()
    assert Markers(directory).incomplete(output) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '"external_jobid"'])
def test_a_marker_that_is_not_whole_tells_nothing(directory: Path, content: str) -> None:
    place(directory, "incomplete", "half.txt", content)
    assert Markers(directory).incomplete("half.txt") is None


def test_an_older_record_is_of_an_earlier_job(directory: Path) -> None:
    place(directory, "metadata", "out.txt", "{}")
    markers = Markers(directory)
    assert markers.finished("out.txt", since=999) == 1000.0
    assert markers.finished("out.txt", since=1010) is None
    assert markers.finished("other.txt", since=999) is None


def test_without_a_file_persistence_nothing_is_known(tmp_path: Path) -> None:
    markers = Markers(tmp_path)
    assert markers.incomplete("out.txt") is None
    assert markers.finished("out.txt", since=0) is None
