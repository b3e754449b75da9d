"""Where a target keeps the files of a run, if that is a bucket and not the run's directory.

Only the profile and the environment of the service say it, not what runs tell of themselves: what lies there is handed
out with the service's own keys.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template
from urllib.parse import quote, urlencode

from snakeway import wire
from snakeway.catalog.target import Target
from snakeway.errors import Invalid, InvalidTarget
from snakeway.model.blob import S3Location, location_of

_PROVIDER, _PREFIX, _ENDPOINT, _REGION = (
    "default-storage-provider",
    "default-storage-prefix",
    "storage-s3-endpoint-url",
    "storage-s3-region",
)
# Expressions in a profile are Python. They see the environment that snakemake will have, so a process of their own has
# it; it is given the file's text, as snakemake's own reader is.
_EVALUATE = "import json, sys, yte; print(json.dumps(yte.process_yaml(sys.stdin, require_use_yte=True), default=str))"
_EVALUATE_S = 30


def storage_url(target: Target, run_id: str, environ: Mapping[str, str]) -> str | None:
    """Return the place of a run's files as a URL for `location_of`; None when it is the run's directory.

    None also for providers that nothing here can read, and for a prefix that is no place: snakemake then says why.

    Raises InvalidTarget when an expression of the profile cannot be evaluated.
    """
    options: Mapping[str, object] = target.profile
    if not options.get(_PROVIDER):
        return None
    env = {**environ, wire.ENV_RUN: run_id}
    if options.get("__use_yte__") is True:
        options = _evaluated(target, env)
    if options.get(_PROVIDER) != "s3":
        return None
    prefix = Template(str(options.get(_PREFIX) or "")).safe_substitute(env)
    if not prefix.startswith("s3://"):
        return None
    told = {
        "endpoint": options.get(_ENDPOINT) or env.get("SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"),
        "region": options.get(_REGION) or env.get("SNAKEMAKE_STORAGE_S3_REGION"),
    }
    query = urlencode({name: value for name, value in told.items() if value})
    bucket, _, path = prefix.removeprefix("s3://").partition("/")
    url = f"s3://{bucket}/{quote(path)}?{query}"
    try:
        return url if isinstance(location_of(url), S3Location) else None
    except Invalid:
        return None


def _evaluated(target: Target, env: Mapping[str, str]) -> Mapping[str, object]:
    name = f"the profile of target {target.name!r}"
    argv = [sys.executable, "-c", _EVALUATE]
    try:
        with (target.path / Path(target.file)).open("rb") as file:
            done = subprocess.run(  # noqa: S603 - no part of it comes from outside
                argv, stdin=file, capture_output=True, env=dict(env), timeout=_EVALUATE_S, check=False
            )
    except subprocess.TimeoutExpired as error:
        raise InvalidTarget(f"{name}: its expressions took longer than {_EVALUATE_S} seconds; correct them") from error
    if done.returncode:
        why = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason was given"])[-1]
        raise InvalidTarget(f"{name}: an expression cannot be evaluated: {why}; correct the file")
    found = json.loads(done.stdout)
    return found if isinstance(found, dict) else {}
