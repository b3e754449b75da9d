"""The rules about attempts that were started by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway import ids
from snakeway.model.job import Job, JobState
from snakeway.model.outside import judge, reopen
from snakeway.wire import read_batch, workflow_name


@pytest.mark.parametrize(
    ("failed", "unfinished", "error", "code"),
    [(0, 0, False, 0), (1, 0, False, 1), (0, 1, False, 1), (0, 0, True, 1), (2, 3, True, 1)],
)
def test_an_attempt_that_ended_is_judged_by_what_it_said(failed: int, unfinished: int, error: bool, code: int) -> None:
    verdict = judge(failed=failed, unfinished=unfinished, error=error)
    assert verdict.exit_code == code
    assert (verdict.why is not None) == (bool(unfinished) and not failed and not error)


def test_only_lost_jobs_are_opened_again() -> None:
    jobs = [Job(number, state=state, started_at=1.0, ended_at=2.0) for number, state in enumerate(JobState)]
    waiting = Job(99, state=JobState.LOST, ended_at=2.0)
    changed = reopen([*jobs, waiting])
    assert [(job.number, job.state, job.ended_at) for job in changed] == [
        (list(JobState).index(JobState.LOST), JobState.RUNNING, None),
        (99, JobState.SUBMITTED, None),
    ]


@given(st.integers(0, 2**48 - 1))
def test_an_id_tells_when_it_was_made(at_ms: int) -> None:
    assert ids.made_at(ids.new_id(at_ms)) == at_ms / 1000


@pytest.mark.parametrize(
    "text", ["", "x", "0198c5b2-7d30-4c4e-9a55-0f6a3f1c2d10", "0198C5B2-7D30-7C4E-9A55-0F6A3F1C2D10"]
)
def test_other_ids_do_not(text: str) -> None:
    assert ids.made_at(text) is None


@pytest.mark.parametrize(
    ("directory", "snakefile", "name"),
    [
        ("/home/ada/penguins", "workflow/Snakefile", "penguins"),
        ("/home/ada/penguins", "Snakefile", "penguins"),
        ("/scratch/1", "/home/ada/penguins/workflow/Snakefile", "penguins"),
        ("/", "Snakefile", "snakemake"),
    ],
)
def test_a_workflow_has_the_name_of_its_folder(directory: str, snakefile: str, name: str) -> None:
    assert workflow_name(directory, snakefile) == name


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    most=st.integers(1, 40),
)
def test_batches_keep_the_offsets_and_all_lines_that_fit(
    lines: list[bytes], most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("batch") / "events.ndjson"
    whole = b"".join(line + b"\n" for line in lines)
    path.write_bytes(whole + b"an incomplete"[:most])
    sent = b""
    while data := read_batch(path, len(sent), most):
        assert len(data) <= most
        assert data.endswith(b"\n")
        sent += data
    assert len(sent) in (len(whole), len(whole) + most)  # what is as long as a batch without an end is no event
    kept = [line for line in lines if len(line) < most and line.strip()]
    found = iter(sent.split(b"\n"))
    assert all(line in found for line in kept)
