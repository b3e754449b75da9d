"""Which variables a job gets, and by which way.

A job definition is kept by AWS for months, and SubmitJob's overrides can be read by whoever may describe jobs. So what
is secret goes by neither unless somebody insists:

- on AWS a job needs no keys: it has its role;
- elsewhere a key comes from Secrets Manager or the Parameter Store (``secrets``): AWS keeps a reference only, and the
  container gets the value when it starts;
- with ``pass_secrets`` the values go into the overrides of each job, which AWS forgets some days after the job's end,
  and never into a job definition.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from snakemake_interface_common.exceptions import WorkflowError

_SECRET = re.compile(
    r"SECRET|TOKEN|PASSW(OR)?D|PASSPHRASE|API_?KEY|PRIVATE|CREDENTIAL|(^|_)(KEY|PWD|PASS|PAT|AUTH)(_|$)", re.IGNORECASE
)


class Ways(NamedTuple):
    """The variables by how they reach the job."""

    plain: dict[str, str]  # in the job definition
    secrets: dict[str, str]  # in the job definition, as name -> where the value is kept
    passed: dict[str, str]  # in each job's overrides


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds something that not everybody is to read."""
    return _SECRET.search(name) is not None


def ways(variables: Mapping[str, str], secrets: Mapping[str, str], *, pass_secrets: bool) -> Ways:
    """Sort what the workflow wants to pass. Raises WorkflowError if a secret has no way."""
    plain: dict[str, str] = {}
    passed: dict[str, str] = {}
    for name, value in variables.items():
        if name in secrets:
            continue
        if not is_secret(name):
            plain[name] = value
        elif pass_secrets:
            passed[name] = value
        else:
            raise WorkflowError(
                f"{name} would be passed on to jobs, where it can be read by whoever may describe jobs in the account."
                " On AWS jobs have a role and need no keys: take the variable out of `envvars`, or out of the"
                " environment. Elsewhere name its place with --snakeway-aws-batch-secrets, or say"
                " --snakeway-aws-batch-pass-secrets."
            )
    return Ways(plain, dict(secrets), passed)
