"""The rules of artifacts: how a job's output is named among a run's, and which of them were asked for."""

import posixpath
from collections.abc import Set
from enum import StrEnum
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from snakeway.errors import Invalid
from snakeway.model.blob import BlobsLocation, S3Location, check_key


class Kind(StrEnum):
    """What an output is to whoever started the run.

    TARGET        it was asked for: by its name, by the name of the rule that makes it, or as an input of a rule that
                  makes no file, such as ``all``; or it lies in a folder that was. What was asked for once stays so.
    INTERMEDIATE  it was made on the way.
    """

    TARGET = "target"
    INTERMEDIATE = "intermediate"


def kind_of(path: str, requested: Set[str]) -> Kind:
    """Return the kind of an artifact; ``requested`` holds the paths of files and folders that were asked for."""
    above = (str(folder) for folder in PurePosixPath(path).parents)
    return Kind.TARGET if path in requested or not requested.isdisjoint(above) else Kind.INTERMEDIATE


def is_address(output: str) -> bool:
    """Whether an output is named by an address in a storage (``s3://BUCKET/KEY``), not by a path."""
    return "://" in output


def path_in_storage(output: str, location: BlobsLocation) -> str | None:
    """Return the path of an output below ``location``, where the target keeps the run's files; None outside of it.

    ``output`` comes from jobs, which may claim anything: only what lies below the place is the run's own. Its key is
    what Snakemake's storage plugin makes of it.
    """
    if not isinstance(location, S3Location):
        return None
    try:
        address = urlsplit(output)
        key = posixpath.normpath(address.path.lstrip("/"))
        if (address.scheme, address.netloc) != ("s3", location.bucket) or not key.startswith(location.prefix):
            return None
        return check_key(key.removeprefix(location.prefix))
    except (ValueError, Invalid):
        return None
