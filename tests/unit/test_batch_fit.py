"""What AWS Batch is asked for: never less than the job asks for, and never what Batch would refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_snakeway_aws_batch.fit import FARGATE_MOST, DoesNotFitError, Platform, Size, fit

asked_sizes = st.builds(Size, st.integers(1, 64), st.integers(100, 240_000), st.just(0))


def fargate_takes(vcpus: int, mem_mib: int) -> bool:
    """The rule as AWS's page has it: for each number of vCPU the amounts of memory."""
    amounts = {
        1: range(2048, 8193, 1024),
        2: range(4096, 16385, 1024),
        4: range(8192, 30721, 1024),
        8: range(16384, 61441, 4096),
        16: range(32768, 122881, 8192),
    }
    return mem_mib in amounts.get(vcpus, ())


FARGATE_SIZES = [Size(v, m) for v in (1, 2, 4, 8, 16) for m in range(1024, 122881, 1024) if fargate_takes(v, m)]


@given(asked_sizes)
def test_machines_give_what_is_asked_for(asked: Size) -> None:
    assert fit(Platform.EC2, asked) == asked


@given(asked_sizes)
def test_fargate_gives_the_least_that_is_enough_or_says_that_nothing_is(asked: Size) -> None:
    enough = [size for size in FARGATE_SIZES if size.vcpus >= asked.vcpus and size.mem_mib >= asked.mem_mib]
    if enough:
        assert fit(Platform.FARGATE, asked) == min(enough)
    else:
        with pytest.raises(DoesNotFitError, match=f"{FARGATE_MOST.vcpus} vCPU and {FARGATE_MOST.mem_mib} MiB"):
            fit(Platform.FARGATE, asked)


@given(asked_sizes, st.integers(0, 100_000))
def test_asking_for_more_never_gives_less(asked: Size, more: int) -> None:
    larger = asked._replace(mem_mib=asked.mem_mib + more)
    try:
        given_for_larger = fit(Platform.FARGATE, larger)
    except DoesNotFitError:
        return
    assert fit(Platform.FARGATE, asked) <= given_for_larger


@pytest.mark.parametrize(
    ("asked", "platform", "given"),
    [
        (Size(1, 6000), Platform.FARGATE, Size(1, 6144)),  # the plugin: 2048
        (Size(3, 2048), Platform.FARGATE, Size(4, 8192)),  # the plugin: the run ends
        (Size(2, 2048), Platform.FARGATE, Size(2, 4096)),  # the plugin: an error
        (Size(1, 8193), Platform.FARGATE, Size(2, 9216)),
        (Size(8, 16385), Platform.FARGATE, Size(8, 20480)),
        (Size(4, 200_000), Platform.EC2, Size(4, 200_000)),  # the plugin: 8192
        (Size(6, 1), Platform.EC2, Size(6, 4)),
        (Size(1, 100, 2), Platform.EC2, Size(1, 100, 2)),
    ],
)
def test_what_the_plugin_lowers_or_refuses(asked: Size, platform: Platform, given: Size) -> None:
    assert fit(platform, asked) == given


def test_fargate_has_no_gpus() -> None:
    with pytest.raises(DoesNotFitError, match="no GPUs"):
        fit(Platform.FARGATE, Size(1, 2048, 1))
