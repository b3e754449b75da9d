"""What a profile comes to for one run: expressions evaluated and variables filled in, as snakemake itself would."""

import json
import subprocess
import sys
from collections.abc import Mapping
from string import Template

from snakeway import wire
from snakeway.catalog.target import Target
from snakeway.errors import InvalidTarget

# Expressions in a profile are Python. They see the environment that snakemake will have, so a process of their own has
# it; it is given the file's text, as snakemake's own reader is.
_EVALUATE = "import json, sys, yte; print(json.dumps(yte.process_yaml(sys.stdin, require_use_yte=True), default=str))"
_EVALUATE_S = 30


def effective(target: Target, run_id: str, environ: Mapping[str, str]) -> Mapping[str, object]:
    """Return the options of a target's profile for a run.

    Only texts at the top have their variables filled in; one that is not set stays as it is written.

    Raises InvalidTarget when an expression of the profile cannot be evaluated.
    """
    env = {**environ, wire.ENV_RUN: run_id}
    options = _evaluated(target, env) if target.profile.get("__use_yte__") is True else target.profile
    return {
        name: Template(value).safe_substitute(env) if isinstance(value, str) else value
        for name, value in options.items()
    }


def _evaluated(target: Target, env: Mapping[str, str]) -> Mapping[str, object]:
    name = f"the profile of target {target.name!r}"
    argv = [sys.executable, "-c", _EVALUATE]
    try:
        with (target.path / target.file).open("rb") as file:
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
