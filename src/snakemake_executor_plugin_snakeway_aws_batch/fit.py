"""What AWS Batch is asked for: the least that it accepts and that is no less than what the job asks for.

Pure: no Snakemake, no AWS. Memory is in MiB, which is what Batch counts in. Snakemake's ``mem_mb`` is taken as that
number of MiB, as Slurm does and as the plugin does, so a job gets 5 % more than its megabytes and never less.

A queue of EC2 machines takes any whole number of vCPU from 1 and any MiB from 4; whether a machine is that large is
for its compute environment to say. Fargate takes the combinations of the table, which is that of AWS's page
https://docs.aws.amazon.com/batch/latest/APIReference/API_ResourceRequirement.html from one vCPU up: Snakemake counts
whole cores, so the sizes of a quarter and half a vCPU are never asked for.
"""

from enum import StrEnum
from typing import NamedTuple

EC2_LEAST_MIB = 4  # "You must specify at least 4 MiB of memory for a job"


class Platform(StrEnum):
    """What runs the containers of a queue."""

    EC2 = "EC2"
    FARGATE = "FARGATE"


class Size(NamedTuple):
    """What a job gets."""

    vcpus: int
    mem_mib: int
    gpus: int = 0


class _Row(NamedTuple):
    vcpus: int
    least_mib: int
    most_mib: int
    step_mib: int


_FARGATE = (
    _Row(1, 2048, 8192, 1024),
    _Row(2, 4096, 16384, 1024),
    _Row(4, 8192, 30720, 1024),
    _Row(8, 16384, 61440, 4096),
    _Row(16, 32768, 122880, 8192),
)
FARGATE_MOST = Size(_FARGATE[-1].vcpus, _FARGATE[-1].most_mib)


class DoesNotFitError(ValueError):
    """Nothing that the platform offers is large enough; the text says what would be."""


def fit(platform: Platform, asked: Size) -> Size:
    """Return the smallest size that is accepted and in nothing smaller than ``asked``; more memory may take more vCPU.

    Raises DoesNotFitError if there is none.
    """
    asked = Size(max(1, asked.vcpus), max(1, asked.mem_mib), max(0, asked.gpus))
    if platform is Platform.EC2:
        return asked._replace(mem_mib=max(EC2_LEAST_MIB, asked.mem_mib))
    if asked.gpus:
        raise DoesNotFitError("Fargate has no GPUs; a queue of EC2 machines may have some")
    for row in _FARGATE:
        if row.vcpus >= asked.vcpus and row.most_mib >= asked.mem_mib:
            above = max(0, asked.mem_mib - row.least_mib)
            return Size(row.vcpus, row.least_mib + -(-above // row.step_mib) * row.step_mib)
    raise DoesNotFitError(
        f"Fargate gives at most {FARGATE_MOST.vcpus} vCPU and {FARGATE_MOST.mem_mib} MiB;"
        " a queue of EC2 machines gives what its largest machine has"
    )
