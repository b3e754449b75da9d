"""What to do where a service that tests need is missing: on a developer's machine they are skipped, in CI they fail."""

import os
from collections.abc import Sequence

import pytest


def need(programs: Sequence[str], *, missing: Sequence[str], root: bool = False) -> None:
    """Skip the test, or fail it where CI is set, unless everything that it needs is there."""
    lacking = [*missing, *(["root"] if root and os.geteuid() != 0 else [])]
    if not lacking:
        return
    said = f"needs {', '.join(lacking)} (of {', '.join(programs)}); 'sh tests/packages.sh' installs them"
    if os.environ.get("CI"):
        pytest.fail(said, pytrace=False)
    pytest.skip(said)
