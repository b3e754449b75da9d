"""Object storage of every kind: a folder, moto, and Ceph's gateway. The servers start once for all tests."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakeway.blobs import Blobs
from snakeway.blobs.local import LocalBlobs
from snakeway.blobs.s3 import S3Blobs
from snakeway.model.blob import S3Location, location_of
from tests.support.s3 import S3Server, moto_server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that speaks S3 and takes any key."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[S3Server], None]:
    """Take over the credentials of a server's user, and nothing of this machine."""

    def be(server: S3Server) -> None:
        for name, value in server.credentials.items():
            monkeypatch.setenv(name, value)

    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return be


@pytest.fixture(params=["moto", "gateway"])
def server(request: pytest.FixtureRequest, as_user: Callable[[S3Server], None]) -> S3Server:
    """Every kind of server."""
    found: S3Server = request.getfixturevalue(request.param)
    as_user(found)
    return found


def in_new_bucket(server: S3Server) -> S3Blobs:
    """Make a bucket; return the storage in it, below a prefix."""
    bucket = f"test-{uuid.uuid4().hex}"
    location = location_of(server.blobs_url(bucket, "lab/snakeway"))
    assert isinstance(location, S3Location)
    blobs = S3Blobs(location)
    blobs._client().create_bucket(Bucket=bucket)
    return blobs


@pytest.fixture
def s3(server: S3Server) -> S3Blobs:
    """Storage in an empty bucket, once on each kind of server."""
    return in_new_bucket(server)


@pytest.fixture
def strict(gateway: S3Server, as_user: Callable[[S3Server], None]) -> S3Blobs:
    """Storage in an empty bucket of the server that checks signatures."""
    as_user(gateway)
    return in_new_bucket(gateway)


@pytest.fixture(params=["local", "moto", "gateway"])
def blobs(request: pytest.FixtureRequest, as_user: Callable[[S3Server], None], tmp_path: Path) -> Blobs:
    """Empty storage, once of each kind."""
    if request.param == "local":
        return LocalBlobs(tmp_path / "blobs")
    server = request.getfixturevalue(request.param)
    as_user(server)
    return in_new_bucket(server)
