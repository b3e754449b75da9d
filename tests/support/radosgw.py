"""A real Ceph object gateway on this machine: a monitor, one storage daemon that keeps its objects in memory, radosgw.

Unlike moto it checks signatures, expiry and bounds of what it is sent. Debian's packages of the daemons are needed,
and root: `tests/packages.sh` installs them. Nothing of it survives the tests.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from .ports import free_ports
from .processes import Argv, guarded, log_tail, run
from .s3 import S3Server
from .waiting import wait_until

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_START_S = 150.0

# One copy of everything on one daemon, and no daemon that only watches: the gateway's API is all that is wanted.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{mon_port}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
run_dir = {home}/run
admin_socket = {home}/run/$name.asok
log_file = {home}/log/$name.log
crash_dir = {home}/crash
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
osd_crush_chooseleaf_type = 0
mon_data_avail_crit = 1
mon_data_avail_warn = 1

[mon]
mon_data = {home}/mon
mon_tick_interval = 1

[osd]
osd_data = {home}/osd
osd_objectstore = memstore
memstore_device_bytes = 1073741824
osd_crush_initial_weight = 1

[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_thread_pool_size = 32
rgw_enable_usage_log = false
rgw_enable_gc_threads = false
rgw_enable_lc_threads = false
rgw_enable_quota_threads = false
rgw_run_sync_thread = false
"""


def missing() -> list[str]:
    """Return the programs that the gateway needs and this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@contextmanager
def radosgw_server(folder: Path) -> Iterator[S3Server]:
    """Run a gateway for the `with` block; its logs stay in ``folder``.

    Raises RuntimeError with the end of a log if a daemon does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="ceph-", dir="/tmp"))  # sockets need short paths
    mon_port, port = free_ports(2)
    for name in ("run", "log", "crash", "mon", "osd"):
        (home / name).mkdir()
    fsid = str(uuid.uuid4())
    configuration = home / "ceph.conf"
    configuration.write_text(_CONFIGURATION.format(fsid=fsid, home=home, mon_port=mon_port, port=port))
    env = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
        "CEPH_CONF": str(configuration),
        "HOME": str(home),
    }
    access_key, secret_key = "gateway", uuid.uuid4().hex
    try:
        with ExitStack() as stack:

            def start(name: str, *argv: str | Path) -> None:
                stack.enter_context(guarded(argv, log=home / "log" / f"{name}.out", env=env, cwd=home, patience_s=3))

            def prepare(*argv: str | Path) -> None:
                run(argv, env=env, cwd=home)

            address = f"[v2:127.0.0.1:{mon_port}]"
            prepare("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, home / "monmap")
            prepare("ceph-mon", "--mkfs", "-i", "a", "--monmap", home / "monmap")
            start("mon", "ceph-mon", "-f", "-i", "a")
            osd = str(uuid.uuid4())
            prepare("ceph", "--connect-timeout", str(int(_START_S)), "osd", "new", osd)
            prepare("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
            start("osd", "ceph-osd", "-f", "-i", "0")
            keys: Argv = [f"--access-key={access_key}", f"--secret-key={secret_key}"]
            prepare("radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests", *keys)
            start("radosgw", "radosgw", "-f", "-n", "client.rgw")
            server = S3Server(f"http://127.0.0.1:{port}", access_key, secret_key)
            wait_until(lambda: _answers(server.url), timeout_s=_START_S, what="radosgw to answer")
            yield server
    except (RuntimeError, AssertionError) as error:
        logs = "\n".join(f"{log.name}:\n{log_tail(log)}" for log in sorted((home / "log").iterdir()))
        raise RuntimeError(f"{error}\n{logs}") from error
    finally:
        shutil.copytree(home / "log", folder / "log", dirs_exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
