"""Which of sbatch's refusals are worth another try. The texts are those of Slurm 22.05."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_snakeway_slurm.patience import last_words, may_have_been_accepted, worth_waiting

FAILED = "sbatch: error: Batch job submission failed: "
FULL = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


def message(said: str) -> str:
    """What the executor plugin makes of it."""
    return f"SLURM sbatch failed. The error message was '{said}'.\n    sbatch call:\n        sbatch --parsable\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{FAILED}{FULL}", "AssocMaxSubmitJobLimit"),
        (f"sbatch: error: AssocGrpSubmitJobsLimit\n{FAILED}{FULL}", "AssocGrpSubmitJobsLimit"),
        (f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{FAILED}{FULL}", "QOSMaxSubmitJobPerUserLimit"),
        (f"sbatch: error: QOSGrpSubmitJobsLimit\n{FAILED}{FULL}", "QOSGrpSubmitJobsLimit"),
        *(
            (f"{FAILED}{reason}{more}", reason)
            for reason, more in (
                ("Unable to contact slurm controller", " (connect failure)"),
                ("Socket timed out on send/recv operation", ""),
                ("Zero Bytes were transmitted or received", ""),
                ("Transport endpoint is not connected", ""),
                ("Slurm backup controller in standby mode", ""),
                ("Resource temporarily unavailable", ""),
                ("Connection refused", ""),
                ("Connection timed out", ""),
            )
        ),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
            "temporarily unable to accept job",
        ),
        ("sbatch: error: Slurm job queue full, sleeping and retrying", "Slurm job queue full"),
        ('sbatch: error: Munge encode failed: Failed to connect to "/run/munge"', "Munge encode failed"),
    ],
)
def test_what_passes_is_waited_for(said: str, reason: str) -> None:
    assert worth_waiting(message(said)) == reason


@pytest.mark.parametrize(
    "said",
    [
        "",
        f"{FAILED}Invalid account or account/partition combination specified",
        f"{FAILED}Invalid partition name specified",
        f"{FAILED}Invalid qos specification",
        f"{FAILED}Requested node configuration is not available",
        f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)",
        f"{FAILED}Memory required by task is not available",
        f"{FAILED}Access/permission denied",
        f"sbatch: error: QOSMaxMemoryPerJob\n{FAILED}{FULL}",  # a job of that size will never be accepted
        f"sbatch: error: AssocMaxWallDurationPerJobLimit\n{FAILED}{FULL}",
        "sbatch: unrecognized option '--nonsense'",
    ],
)
def test_what_would_be_refused_again_is_not(said: str) -> None:
    assert worth_waiting(message(said)) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{FAILED}{FULL}", f"Batch job submission failed: {FULL}"),
        (f"{FAILED}Connection refused", "Batch job submission failed: Connection refused"),
    ],
)
def test_the_last_word_is_sbatchs(said: str, words: str) -> None:
    assert last_words(message(said)) == words
    assert last_words(" something else ") == "something else"


@given(st.text())
def test_no_refusal_is_too_strange(text: str) -> None:
    worth_waiting(text)
    last_words(text)


@pytest.mark.parametrize(
    ("said", "unclear"),
    [
        ("Socket timed out on send/recv operation", True),
        ("Zero Bytes were transmitted or received", True),
        ("Unable to contact slurm controller (send failure)", True),
        ("Unable to contact slurm controller (connect failure)", False),
        ("Connection refused", False),
        ("AssocMaxSubmitJobLimit", False),
    ],
)
def test_a_lost_answer_may_have_been_a_yes(said: str, unclear: bool) -> None:
    assert may_have_been_accepted(message(f"{FAILED}{said}")) is unclear
