"""What the logger plugin finds out about object storage: from real clients of S3, at an address where nobody is."""

from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import ClientError
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_logger_plugin_snakeway.storage import Storage
from tests.support.ports import free_ports


class MissingInputException(WorkflowError):
    """Has the name of Snakemake's."""


class StorageObject:
    """Keeps what it needs where the plugin for S3 keeps it."""

    def __init__(self, endpoint: str, bucket: str = "lab") -> None:
        self.bucket = bucket
        names = ("region", "access_key", "secret_key", "token")
        settings = SimpleNamespace(endpoint_url=endpoint, **dict.fromkeys(names, "x"))
        config = Config(connect_timeout=1, retries={"total_max_attempts": 1})
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        s3c = boto3.resource("s3", endpoint_url=endpoint, region_name="x", config=config, **keys)
        self.provider = SimpleNamespace(s3c=s3c, settings=settings)

    def exists(self) -> None:
        try:
            self.provider.s3c.Object(self.bucket, "a.txt").load()
        except Exception as error:
            raise WorkflowError("Failed to check existence", error) from error

    def fail(self, error: Exception) -> None:
        raise error


def caught(call: Any, *args: Any) -> BaseException:
    with pytest.raises(Exception) as found:  # noqa: PT011  each has its own
        call(*args)
    return found.value


@pytest.fixture
def endpoint() -> str:
    """An address at which nothing answers."""
    return f"http://127.0.0.1:{free_ports(1)[0]}"


def expected(endpoint: str, bucket: str = "lab") -> dict[str, Any]:
    return {"endpoint": endpoint, "bucket": bucket, "code": "EndpointConnectionError", "status": None}


def test_the_reason_of_an_error_is_the_clients(endpoint: str) -> None:
    error = caught(StorageObject(endpoint).exists)
    assert Storage().told(error, "") == expected(endpoint)


def test_the_reason_is_found_in_a_group(endpoint: str) -> None:
    error = caught(StorageObject(endpoint).exists)
    assert Storage().told(ExceptionGroup("several", [ValueError(), error]), "") == expected(endpoint)


def test_a_password_in_the_address_is_not_told(endpoint: str) -> None:
    thing = StorageObject(endpoint.replace("//", "//user:hush@"))
    told = Storage().told(caught(thing.exists), "")
    assert told is not None
    assert told["endpoint"] == endpoint


def test_a_status_alone_is_asked_about(endpoint: str) -> None:
    answer: Any = {"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    thing, storage = StorageObject(endpoint), Storage()
    told = storage.told(caught(thing.fail, ClientError(answer, "HeadObject")), "")
    assert told == expected(endpoint)
    answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    told = storage.told(caught(thing.fail, ClientError(answer, "ListObjects")), "")
    assert told is not None
    assert (told["code"], told["status"]) == ("AccessDenied", 403)


def test_a_wrapper_is_not_the_reason(endpoint: str) -> None:
    assert Storage().told(caught(StorageObject(endpoint).fail, S3UploadFailedError("x")), "") is None


class Workflow:
    """Has its default storage provider where Snakemake's has it."""

    def __init__(self, provider: Any) -> None:
        self.storage_registry = SimpleNamespace(default_storage_provider=provider)

    def execute(self) -> None:
        raise MissingInputException("x")


@pytest.mark.parametrize(
    ("message", "bucket"),
    [("Missing\n  s3://lab/runs/in.txt (in storage)", "lab"), ("Missing\n  in.txt", None), ("", None)],
)
def test_a_missing_file_is_asked_for_if_it_is_in_storage(message: str, bucket: str | None, endpoint: str) -> None:
    error = caught(Workflow(StorageObject(endpoint).provider).execute)
    assert Storage().told(error, message) == (expected(endpoint, bucket) if bucket else None)


def test_an_empty_bucket_is_no_bucket(endpoint: str) -> None:
    told = Storage().told(caught(Workflow(StorageObject(endpoint).provider).execute), "s3:///run/in.txt")
    assert told is not None
    assert (told["bucket"], told["code"]) == ("", "ParamValidationError")


@pytest.mark.parametrize("error", [None, ValueError("s3://lab/x"), MissingInputException("s3://lab/x")])
def test_what_has_nothing_to_do_with_storage(error: BaseException | None) -> None:
    assert Storage().told(error, str(error)) is None
