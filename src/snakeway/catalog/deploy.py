"""Has Snakemake send every file of a workflow to jobs that share no disk with it.

Snakemake packs what it knows by itself, which is its rules and what `script:` names, and all that git has in the
working directory. A run's directory is no checkout, so it gets an index that lists the workflow's files: nothing is
copied, and no history is made.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from snakeway.errors import Invalid

# A job can write what git reads here; it has no say in what git runs.
_OPTIONS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.sharedRepository=umask")
_EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # stands for every content: only names are asked for
_TIMEOUT_S = 60
_KEPT = ("PATH", "LANG", "LC_ALL", "HOME")


def deploys_sources(profile: Mapping[str, object]) -> bool:
    """Whether a profile says that jobs do not see the workflow's files where snakemake sees them."""
    shared = profile.get("shared-fs-usage")
    return shared is not None and "sources" not in (shared if isinstance(shared, list) else [shared])


def list_for_git(directory: Path, files: Iterable[str]) -> None:
    """Write the index; may be repeated, also with other files.

    Raises Invalid without git, OSError if the directory cannot be written.
    """
    entries = b"".join(f"100644 {_EMPTY_BLOB}\t{path}\0".encode(errors="surrogateescape") for path in sorted(files))
    _git(directory, "init", "--quiet", "--template=")
    for name in ("index", "index.lock"):  # what is no longer there would be missed; a killed git leaves its lock
        (directory / ".git" / name).unlink(missing_ok=True)
    _git(directory, "update-index", "-z", "--index-info", given=entries)


def _git(directory: Path, *arguments: str, given: bytes = b"") -> None:
    env = {name: os.environ[name] for name in _KEPT if name in os.environ} | {"GIT_CEILING_DIRECTORIES": "/"}
    try:
        subprocess.run(  # noqa: S603 - names of files are given as input
            ["git", *_OPTIONS, *arguments],  # noqa: S607
            cwd=directory,
            env=env,
            input=given,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except FileNotFoundError as error:
        raise Invalid("git is needed to send workflows to jobs that share no disk; install it") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or b"").decode(errors="replace").strip()
        raise OSError(f"git cannot list the workflow's files in {directory}: {said or error}") from error
