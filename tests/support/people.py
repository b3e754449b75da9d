"""A service that runs as an ordinary account and runs as their owners, with real accounts and real sudo.

Everything that other accounts have to reach lies in one folder in /tmp that they can enter: the interpreter, workflows,
targets, the data folder. Of an interpreter that is closed for them (one in a home, say) the system's own of the same
version takes the place, or else a copy of hard links. Packages and sources are used where they are if all can read
them, and are put there otherwise.
"""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .processes import run
from .server import ROOT, Server
from .slurm import ensure_users

SERVICE = "snakesvc"
ALICE, BOB = "snakealice", "snakebob"
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


PROGRAMS = ("sudo", "visudo", "useradd")


def missing() -> list[str]:
    """Return the programs that are needed to run as other accounts and that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]


@dataclass
class House:
    """The folder; servers in it are made by :meth:`server`."""

    path: Path
    python: Path

    def server(self, name: str, *, account: str = ALICE, **options: object) -> Server:
        """Return a server of the service's account whose runs run as ``account``; it is not started."""
        data_dir = self.path / name
        data_dir.mkdir(exist_ok=True)
        shutil.chown(data_dir, SERVICE, SERVICE)
        settings = {
            "SNAKEWAY_RUN_AS_OWNER": "true",
            "SNAKEWAY_ACCOUNTS": json.dumps({"local": account}),
            "HOME": str(Path("~" + SERVICE).expanduser()),
            **options.pop("settings", {}),  # type: ignore[dict-item]
        }
        return Server(
            data_dir,
            workflows_dir=self.path / "workflows",
            profiles_dir=self.path / "profiles",
            settings=settings,
            python=str(self.python),
            account=SERVICE,
            **options,  # type: ignore[arg-type]
        )

    def sudoers(self) -> str:
        """Return the line of the how-to page, with our names in it, for every data folder of these tests."""
        page = (ROOT / "docs" / "how-to" / "run-as-owner.md").read_text()
        line = page.partition("```sudoers\n")[2].partition("```")[0]
        ours = {
            "snakeway ALL": f"{SERVICE} ALL",
            "%snakeway-people": f"{ALICE},{BOB}",
            "/opt/snakeway/bin/python": str(self.python),
            "/srv/snakeway *": f"{self.path}/*",
        }
        for theirs, name in ours.items():
            assert theirs in line
            line = line.replace(theirs, name)
        return line

    def workflow(self, name: str, snakefile: str) -> None:
        """Put a workflow into the catalog."""
        folder = self.path / "workflows" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Snakefile").write_text(snakefile)


def become(account: str, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program as an account, with its main group only, and return how it ended."""
    return subprocess.run(
        argv,
        user=account,
        group=pwd.getpwnam(account).pw_gid,
        extra_groups=[],
        env={"PATH": _PATH, **(env or {})},
        capture_output=True,
        text=True,
        cwd="/",
    )


def processes_of(name: str) -> list[int]:
    """Return the pids of what has the id of a run, or another name, in its arguments or its environment."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if name.encode() in words and state != "Z" and entry.name != str(os.getpid()):
                found.append(int(entry.name))
    return found


@contextmanager
def house() -> Iterator[House]:
    """Make the accounts, the folder and the line in sudoers; all but the accounts are gone in the end."""
    ensure_users()
    with suppress(RuntimeError):  # it is there
        run(["useradd", "--create-home", "--shell", "/bin/bash", SERVICE], env={"PATH": _PATH})
    path = Path(tempfile.mkdtemp(prefix="snakeway-", dir="/tmp"))
    sudoers = Path("/etc/sudoers.d") / path.name
    try:
        path.chmod(0o755)
        for name in ("workflows", "profiles"):
            shutil.copytree(ROOT / name, path / name)
        made = House(path, _interpreter(path))
        unfinished = sudoers.with_name(f"{path.name}.new")  # sudo passes over names with a dot
        unfinished.touch(mode=0o440)
        unfinished.write_text(made.sudoers())
        unfinished.replace(sudoers)
        yield made
    finally:
        sudoers.unlink(missing_ok=True)
        for pid in processes_of(str(path)):  # of a test that failed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(path, ignore_errors=True)


def _interpreter(path: Path) -> Path:
    """Make a virtual environment that everybody can use, of this interpreter, these packages and these sources."""
    base = next((found for found in _candidates() if _open_for_all(found)), None)
    if base is None:
        base = _copied(path / "python")
    found = []
    for folder in (ROOT / "src", Path(sysconfig.get_path("purelib"))):
        if not _open_for_all(folder):
            shutil.copytree(folder, path / "lib" / folder.name, symlinks=True, copy_function=_link)
            folder = path / "lib" / folder.name
        found.append(str(folder))
    environment = path / "venv"
    packages = environment / "lib" / _VERSION / "site-packages"
    packages.mkdir(parents=True)
    (packages / "snakeway-tests.pth").write_text("".join(f"{folder}\n" for folder in found))
    (environment / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    python = environment / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(base)
    (python.parent / "python3").symlink_to("python")
    for name in ("snakeway", "snakemake"):
        program = python.parent / name
        program.write_text(f'#!/bin/sh\nexec {python} -m {name} "$@"\n')
        program.chmod(0o755)
    return python


def _candidates() -> list[Path]:
    own = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    others = [Path(folder) / _VERSION for folder in ("/usr/local/bin", "/usr/bin")]
    return [own, *(other for other in others if other.exists())]


def _copied(base: Path) -> Path:
    """Put this interpreter and its standard library into ``base``; its libraries must be found from where it is."""
    original = Path(sys.base_prefix) / "lib"
    for library in original.glob("libpython*"):
        _link(str(library), str(base / "lib" / library.name))
    left_out = shutil.ignore_patterns("site-packages", "test", "idlelib", "__pycache__")
    shutil.copytree(original / _VERSION, base / "lib" / _VERSION, ignore=left_out, copy_function=_link)
    _link(str(_candidates()[0]), str(base / "bin" / _VERSION))
    return base / "bin" / _VERSION


def _open_for_all(path: Path) -> bool:
    """Whether every account can reach and read what is at ``path``."""
    reach = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
    return reach and bool(path.stat().st_mode & stat.S_IROTH)


def _link(source: str, destination: str) -> str:
    Path(destination).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, destination)
    except OSError:  # another file system
        shutil.copy2(source, destination)
    return destination
