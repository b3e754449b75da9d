"""Real servers, real snakemake."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import containers
from tests.support.aws import Aws, aws
from tests.support.server import ROOT, Server
from tests.support.services import need
from tests.support.slurm import PROGRAMS, Cluster, ensure_users, missing, slurm_cluster

StartServer = Callable[..., Server]

# What makes tests on Slurm quick: how often the executor looks, and how soon it submits again.
QUICK = {
    "snakeway-slurm-init-seconds-before-status-checks": 1,
    "snakeway-slurm-longest-status-pause-s": 2,
    "snakeway-slurm-submit-retry-s": 2,
    "latency-wait": 5,
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the project's own workflows and targets, shared by the tests that do not harm it."""
    server = Server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.stop()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers of a test's own; keyword arguments are those of :class:`Server`."""
    started: list[Server] = []

    def start(**options: Any) -> Server:
        server = Server(options.pop("data_dir", tmp_path / "data"), **options)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def workflows(tmp_path: Path) -> Callable[..., Path]:
    """Writes workflows (name=text of the Snakefile) and returns the folder they are in."""

    def write(**snakefiles: str) -> Path:
        for name, text in snakefiles.items():
            folder = tmp_path / "workflows" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "Snakefile").write_text(text)
        return tmp_path / "workflows"

    return write


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm cluster. The tests that use one are in two groups: there are two at most, undisturbed by others."""
    need(PROGRAMS, missing=missing(), root=True)
    ensure_users()
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def cluster(slurm: Cluster) -> Iterator[Cluster]:
    """The Slurm cluster, whole at the beginning and at the end of each test, whatever the test does to it."""
    yield slurm
    slurm.heal()


@pytest.fixture
def slurm_server(cluster: Cluster, start_server: StartServer, tmp_path: Path) -> StartServer:
    """Starts servers that know the cluster; beside the target `slurm` they have `quick`, which looks more often."""
    profiles = tmp_path / "profiles"
    for name in ("local", "slurm"):
        shutil.copytree(ROOT / "profiles" / name, profiles / name)
    shutil.copytree(ROOT / "profiles" / "slurm", profiles / "quick")
    config = profiles / "quick" / "config.yaml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith(tuple(QUICK))]
    config.write_text("\n".join([*lines, *(f"{name}: {value}" for name, value in QUICK.items())]) + "\n")

    def start(**options: Any) -> Server:
        settings = {"SNAKEWAY_SCHEDULER_INTERVAL_S": "1", **cluster.env, **options.pop("settings", {})}
        return start_server(profiles_dir=profiles, settings=settings, **options)

    return start


# What makes tests on AWS Batch quick; and there jobs have no role, so they get keys, which open nothing.
QUICK_BATCH = {
    "jobs": 12,
    "snakeway-aws-batch-poll-interval-s": 1,
    "snakeway-aws-batch-log-settle-s": 0,  # there the log is whole before the end is told
    "snakeway-aws-batch-pass-secrets": "true",
    "envvars": "[AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]",
}


@pytest.fixture(scope="session")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """AWS with a queue and a bucket. All tests that use it are in one group, so that there is one."""
    need(containers.PROGRAMS, missing=containers.missing(), root=True)
    with aws(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture
def batch_profiles(tmp_path: Path) -> Path:
    """The target `aws-batch` as it is, and `quick`, which looks more often."""
    profiles = tmp_path / "profiles"
    for name in ("local", "aws-batch"):
        shutil.copytree(ROOT / "profiles" / name, profiles / name)
    shutil.copytree(ROOT / "profiles" / "aws-batch", profiles / "quick")
    config = profiles / "quick" / "config.yaml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith(tuple(QUICK_BATCH))]
    config.write_text("\n".join([*lines, *(f"{name}: {value}" for name, value in QUICK_BATCH.items())]) + "\n")
    return profiles


@pytest.fixture
def batch_server(batch: Aws, start_server: StartServer, batch_profiles: Path) -> StartServer:
    """Starts servers that know AWS."""

    def start(**options: Any) -> Server:
        return start_server(profiles_dir=batch_profiles, settings=batch.env | options.pop("settings", {}), **options)

    return start
