"""Real containers without a registry: a podman of the tests' own, a base image from Debian's packages, our images.

Debian's packages are needed, and root: `tests/packages.sh` installs them. Nothing of the machine's own containers is
seen or touched: configuration, images and socket are in one folder, which outlives the tests, because the base image
takes a minute and our images another. `SNAKEWAY_TEST_CACHE` moves it.

By hand: `python -m tests.support.containers` builds the images and prints what to set.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .processes import guarded, log_tail, run
from .waiting import wait_until

PROGRAMS = ("podman", "runc", "debootstrap")
BASE = "docker.io/library/debian:bookworm-slim"  # its name in the Dockerfiles; ours is made from the same packages
_ROOT = Path(__file__).parent.parent.parent
_SUITE = "bookworm"
_TITLES = {"job": "snakeway-job", "service": "snakeway"}
_KEPT = "24h"  # images of sources that are no longer built
_START_S = 60.0
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# Each line is needed on a machine without systemd and without the right to raise limits.
_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
netns = "host"
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
_STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{home}/storage"
runroot = "{home}/run"
"""
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'  # nothing is ever pulled


def missing() -> list[str]:
    """Return the programs that containers need and this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


def cache() -> Path:
    """Return the folder that outlives the tests."""
    named = os.environ.get("SNAKEWAY_TEST_CACHE")
    general = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(general) / "snakeway-tests"


@dataclass(frozen=True)
class Podman:
    """A podman with images of its own."""

    home: Path
    env: dict[str, str]

    def run(self, *argv: str, check: bool = True) -> str:
        """Run one command of podman; returns what it printed."""
        return run(["podman", *argv], env=self.env, cwd=self.home, check=check).decode()

    def has(self, image: str) -> bool:
        """Whether an image is there."""
        return bool(self.run("images", "--quiet", image).strip())

    def containers(self, prefix: str) -> list[str]:
        """Return the names of the containers that run and whose name begins with ``prefix``."""
        names = self.run("ps", "--format", "{{.Names}}").split()
        return [name for name in names if name.startswith(prefix)]

    def remove(self, names: Iterable[str]) -> None:
        """End containers, and forget them."""
        for name in names:
            self.run("rm", "--force", "--time=0", name, check=False)

    @contextmanager
    def service(self, log: Path) -> Iterator[str]:
        """Offer Docker's API for the `with` block; yields what DOCKER_HOST has to be."""
        folder = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))  # sockets need short paths
        address = f"unix://{folder}/podman.sock"
        argv = ["podman", "system", "service", "--time=0", address]
        try:
            with guarded(argv, log=log, env=self.env, cwd=self.home) as process:

                def answers() -> bool:
                    if process.poll() is not None:
                        raise RuntimeError(f"podman's service did not start:\n{log_tail(log)}")
                    return (folder / "podman.sock").exists()

                wait_until(answers, timeout_s=_START_S, what="podman's service")
                yield address
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def podman() -> Podman:
    """Return the podman of the tests, with the base image, which is made if it is not there yet."""
    home = cache() / "podman"
    home.mkdir(parents=True, exist_ok=True)
    (home / "containers.conf").write_text(_CONTAINERS_CONF)
    (home / "storage.conf").write_text(_STORAGE_CONF.format(home=home))
    (home / "policy.json").write_text(_POLICY)
    (home / "registries.conf").write_text("unqualified-search-registries = []\n")
    base = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL") if name in os.environ}
    env = {
        **base,
        "PATH": _path(),
        "TMPDIR": "/tmp",
        "CONTAINERS_CONF": str(home / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(home / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(home / "registries.conf"),
    }
    policy = Path("/etc/containers/policy.json")
    if not policy.exists():  # podman of this age looks nowhere else
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.write_text(_POLICY)
    ours = Podman(home, env)
    with _locked(home / "lock"):
        if not ours.has(BASE):
            _make_base(ours)
    return ours


def image(ours: Podman, name: str) -> str:
    """Build one of the project's images (`job`, `service`), unless what it is made of has not changed; returns its tag.

    `containers/images/build.sh` does the work. Where HTTPS is re-signed, the build needs the machine's certificates and
    its configuration of pip: both are mounted, and stay out of the image.
    """
    tag = f"localhost/snakeway-{name}:test-{_digest(name)}"
    with _locked(ours.home / "lock"):
        if not ours.has(tag):
            pip = ours.home / "pip.conf"
            pip.write_text(f"[global]\ncert = {_CERTIFICATES}\ntimeout = 120\n")
            options = ["--network=host", f"--volume={pip}:/etc/pip.conf:ro"]
            if _CERTIFICATES.exists():
                options.append(f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro")
            env = ours.env | {"ENGINE": "podman", "BASE": BASE, "TAG": tag, "BUILD_OPTIONS": " ".join(options)}
            handed_on = ("UV", "SSL_CERT_FILE", "UV_INDEX_URL", "UV_NATIVE_TLS")
            env |= {key: os.environ[key] for key in handed_on if key in os.environ}
            run(["sh", "containers/images/build.sh", name], env=env, cwd=_ROOT)
            for option in ([], ["--all", f"--filter=label=org.opencontainers.image.title={_TITLES[name]}"]):
                ours.run("image", "prune", "--force", f"--filter=until={_KEPT}", *option, check=False)
    return tag


def _make_base(ours: Podman) -> None:
    with tempfile.TemporaryDirectory(prefix="debootstrap-", dir=ours.home) as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        run(["debootstrap", "--variant=minbase", "--include=ca-certificates", _SUITE, str(root)], env=ours.env)
        run(["tar", "-C", str(root), "-cf", str(archive), "."], env=ours.env)
        ours.run("import", "--change", 'CMD ["bash"]', str(archive), BASE)


def _digest(name: str) -> str:
    """Return what changes when something changes that the image is made of."""
    found = hashlib.sha256()
    folders = (_ROOT / "src", _ROOT / "containers/images" / name)
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts]
    for path in (_ROOT / "pyproject.toml", _ROOT / "uv.lock", _ROOT / "containers/images/build.sh", *files):
        if path.is_file():
            found.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def main() -> None:
    """Build the images."""
    ours = podman()
    for name in ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"):
        print(f"export {name}={ours.env[name]}")
    for name in ("job", "service"):
        print(f"{name}: {image(ours, name)}", flush=True)


if __name__ == "__main__":
    main()
