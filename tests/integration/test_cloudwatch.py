"""Logs in CloudWatch, of a moto server: read whole, read on as they grow, kept in a file, and looked at meanwhile."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from snakeway.cloudwatch import LOG_GROUP, Position, end, keep, pages
from snakeway.errors import Unavailable
from snakeway.service.livelog import LiveLogs
from snakeway.targets import SchedulerAway
from tests.support.s3 import S3Server, moto_server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


class CloudWatch:
    """A log group to write into, as the agent of a container does."""

    def __init__(self, url: str, group: str) -> None:
        self.client: Any = boto3.client(
            "logs",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.group = group
        self.client.create_log_group(logGroupName=group)

    def create(self, stream: str) -> None:
        self.client.create_log_stream(logGroupName=self.group, logStreamName=stream)

    def write(self, stream: str, *lines: str) -> None:
        at_ms = int(time.time() * 1000)
        events = [{"timestamp": at_ms, "message": line} for line in lines]
        self.client.put_log_events(logGroupName=self.group, logStreamName=stream, logEvents=events)

    def read(self, *streams: str, since: Position | None = None) -> tuple[str, Position | None]:
        found = list(pages(self.client, self.group, streams, since))
        return b"".join(piece for piece, _ in found).decode(), found[-1][1] if found else since


@pytest.fixture
def cloudwatch(moto: S3Server, request: pytest.FixtureRequest) -> CloudWatch:
    return CloudWatch(moto.url, f"{LOG_GROUP}/{request.node.name}")


def test_a_log_is_read_on_from_where_a_reader_has_got_to(cloudwatch: CloudWatch) -> None:
    assert cloudwatch.read("a") == ("", None)  # not there yet
    cloudwatch.create("a")
    assert cloudwatch.read("a")[0] == ""
    cloudwatch.write("a", "one", "two")
    text, position = cloudwatch.read("a")
    assert text == "one\ntwo\n"
    assert cloudwatch.read("a", since=position)[0] == ""
    cloudwatch.write("a", "three \N{SNAKE}")
    text, position = cloudwatch.read("a", since=position)
    assert text == "three \N{SNAKE}\n"
    cloudwatch.create("b")
    cloudwatch.write("b", "again")
    assert cloudwatch.read("a", "b", since=position)[0] == "again\n"  # a second start of the job
    assert cloudwatch.read("a", "b")[0] == "one\ntwo\nthree \N{SNAKE}\nagain\n"


def test_a_long_log_comes_in_pages(cloudwatch: CloudWatch, tmp_path: Path) -> None:
    cloudwatch.create("long")
    lines = [f"line {number}" for number in range(25_000)]
    for start in range(0, len(lines), 5_000):
        cloudwatch.write("long", *lines[start : start + 5_000])
    found = list(pages(cloudwatch.client, cloudwatch.group, ["long"]))
    assert len([piece for piece, _ in found if piece]) == 3  # GetLogEvents gives 10,000 at most
    size_bytes = keep(tmp_path / "job.log", iter(found))
    text = (tmp_path / "job.log").read_text()
    assert text == "".join(f"{line}\n" for line in lines)
    assert size_bytes == len(text)
    assert [path.name for path in tmp_path.iterdir()] == ["job.log"]


def test_a_log_that_breaks_off_is_not_kept(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[bytes, Position]]:
        yield b"one\n", Position("a")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        keep(tmp_path / "job.log", broken())
    assert list(tmp_path.iterdir()) == []


class Here:
    """Has the logs of one group's streams, of jobs with the same names."""

    def __init__(self, cloudwatch: CloudWatch) -> None:
        self.cloudwatch = cloudwatch
        self.away = False
        self.expired = False  # positions are, after a day

    def end(self, run: str, external_id: str) -> bytes:
        raise NotImplementedError

    def keep(self, run: str, external_id: str, path: Path) -> bool:
        raise NotImplementedError

    def more(self, run: str, external_id: str, since: Position | None) -> Iterator[tuple[bytes, Position]]:
        if self.away or (self.expired and since is not None):
            raise SchedulerAway("CloudWatch Logs: no answer")
        return pages(self.cloudwatch.client, self.cloudwatch.group, [external_id], since)


def test_a_log_is_looked_at_while_it_grows(cloudwatch: CloudWatch) -> None:
    live, logs = LiveLogs(fresh_s=0), Here(cloudwatch)
    assert live.file(logs, "run", "job") is None
    cloudwatch.create("job")
    cloudwatch.write("job", "one")
    path = live.file(logs, "run", "job")
    assert path is not None
    assert path.parent == live.root
    assert path.read_text() == "one\n"
    cloudwatch.write("job", "two")
    assert live.file(logs, "run", "job") == path
    assert path.read_text() == "one\ntwo\n"
    logs.expired = True
    with pytest.raises(Unavailable):
        live.file(logs, "run", "job")
    assert live.file(logs, "run", "job") == path  # from the beginning
    assert path.read_text() == "one\ntwo\n"
    logs.away = True
    with pytest.raises(Unavailable, match="cannot be fetched now: CloudWatch Logs: no answer; try again later"):
        live.file(logs, "run", "job")


def test_the_end_of_a_log_is_one_request(cloudwatch: CloudWatch) -> None:
    assert end(cloudwatch.client, cloudwatch.group, "job") == b""
    cloudwatch.create("job")
    for start in (0, 6_000):
        cloudwatch.write("job", *(f"line {number}" for number in range(start, start + 6_000)))
    found = end(cloudwatch.client, cloudwatch.group, "job").decode().splitlines()
    assert len(found) == 10_000
    assert found[-1] == "line 11999"


def test_only_the_logs_that_were_looked_at_last_are_held(cloudwatch: CloudWatch) -> None:
    live, logs = LiveLogs(), Here(cloudwatch)
    for number in range(70):
        cloudwatch.create(f"job-{number}")
        cloudwatch.write(f"job-{number}", "words")
        assert live.file(logs, "run", f"job-{number}") is not None
    assert len(list(live.root.iterdir())) == 64
