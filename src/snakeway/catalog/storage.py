"""Where a target keeps the files of a run, if that is a bucket and not the run's directory.

Only the profile and the environment of the service say it, not what runs tell of themselves: what lies there is handed
out with the service's own keys.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from snakeway.errors import Invalid
from snakeway.model.blob import S3Location, location_of

_PROVIDER, _PREFIX, _ENDPOINT, _REGION = (
    "default-storage-provider",
    "default-storage-prefix",
    "storage-s3-endpoint-url",
    "storage-s3-region",
)


def storage_url(options: Mapping[str, object], environ: Mapping[str, str]) -> str | None:
    """Return the place of a run's files as a URL for `location_of`; None when it is the run's directory.

    ``options`` are what the profile comes to for the run. None also for providers that nothing here can read, and for
    a prefix that is no place: snakemake then says why.
    """
    prefix = str(options.get(_PREFIX) or "")
    if options.get(_PROVIDER) != "s3" or not prefix.startswith("s3://"):
        return None
    told = {
        "endpoint": options.get(_ENDPOINT) or environ.get("SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"),
        "region": options.get(_REGION) or environ.get("SNAKEMAKE_STORAGE_S3_REGION"),
    }
    query = urlencode({name: value for name, value in told.items() if value})
    bucket, _, path = prefix.removeprefix("s3://").partition("/")
    url = f"s3://{bucket}/{quote(path)}?{query}"
    try:
        return url if isinstance(location_of(url), S3Location) else None
    except Invalid:
        return None
