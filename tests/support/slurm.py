"""A real Slurm cluster of four nodes on this machine: munged, MariaDB, slurmdbd, slurmctld and four slurmd.

Debian's packages of the daemons are needed, and root: `tests/packages.sh` installs them. Nothing about Slurm is
patched; what a cluster of one machine needs is in the configuration (several slurmd with a port each, more processors
than there are, processes told apart by their parents instead of control groups).

By hand: `python -m tests.support.slurm FOLDER` runs a cluster until Ctrl-C and prints what to set.
"""

import fcntl
import os
import platform
import pwd
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

from .ports import free_ports
from .processes import Argv, guarded, log_tail, run
from .waiting import wait_until

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd")
NODES = ("node1", "node2", "node3", "node4")
USERS = ("snakealice", "snakebob")  # local people who may use the cluster
NODE_SILENCE_S = 15  # after which a node counts as dead; the first signs are noticed after a third of it
_START_S = 60.0
_CLUSTER = "snakeway"

# cred_expire: so long a job that was put back waits before it starts again; a slower start of a job is refused.
_SLURM_CONF = """\
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge/socket,cred_expire=20
CredType=cred/munge
SlurmctldPort={ctld_port}
SlurmctldPidFile={home}/run/slurmctld.pid
SlurmdPidFile={home}/run/slurmd-%n.pid
SlurmdSpoolDir={home}/spool/%n
StateSaveLocation={home}/state
SlurmctldLogFile={home}/log/slurmctld.log
SlurmdLogFile={home}/log/slurmd-%n.log
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SlurmdTimeout={node_silence_s}
MinJobAge=300
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,bf_interval=5,batch_sched_delay=0,bf_continue
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
JobRequeue=1
FirstJobId={first_job}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={home}/munge/socket
AccountingStorageEnforce=associations,limits,qos
NodeName=node[1-4] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{node_ports}] CPUs=4 RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefMemPerCPU=500 MaxTime=1-00:00:00 State=UP PriorityTier=10 LLN=YES
PartitionName=leftover Nodes=ALL DefMemPerCPU=500 MaxTime=1-00:00:00 State=UP PriorityTier=1
"""

_SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={home}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser=root
LogFile={home}/log/slurmdbd.log
PidFile={home}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
"""

# Which people may do what; `tight` is a QOS under which nobody has more than two jobs at a time in the queue.
_ACCOUNTS: tuple[tuple[str, ...], ...] = (
    ("add", "cluster", _CLUSTER),
    ("add", "account", "lab", f"cluster={_CLUSTER}", "description=lab", "organization=lab"),
    ("add", "qos", "tight", "set", "MaxSubmitJobsPerUser=2"),
    *(("add", "user", user, "account=lab", f"cluster={_CLUSTER}", "qos=normal,tight") for user in ("root", *USERS)),
    ("modify", "user", "root", "set", "defaultaccount=lab"),
)


class _Daemon(NamedTuple):
    argv: Argv
    stop: signal.Signals


def missing() -> list[str]:
    """Return the programs that a cluster needs and this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@dataclass
class Cluster:
    """A running cluster; its daemons can be stopped, killed and started one by one."""

    home: Path
    env: dict[str, str]  # for every program that talks to the cluster
    _daemons: dict[str, _Daemon] = field(default_factory=dict)
    _running: dict[str, tuple[AbstractContextManager["Popen[bytes]"], "Popen[bytes]"]] = field(default_factory=dict)

    def run(self, *argv: str, check: bool = True) -> str:
        """Run one of Slurm's commands; returns what it printed."""
        return run(argv, env=self.env, check=check).decode()

    def start(self, name: str) -> None:
        """Start a daemon and wait until it answers."""
        daemon = self._daemons[name]
        log = self.home / "log" / f"{name}.out"
        context = guarded(daemon.argv, log=log, env=self.env, cwd=self.home, stop=daemon.stop)
        process = context.__enter__()
        self._running[name] = context, process
        ready = self._ready(name)

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{name} did not start:\n{log_tail(log)}\n{log_tail(self.home / f'log/{name}.log')}")
            return ready()

        wait_until(answers, timeout_s=_START_S, what=f"{name} to answer")

    def stop(self, name: str) -> None:
        """End a daemon in an orderly way."""
        context, _ = self._running.pop(name)
        context.__exit__(None, None, None)

    def kill(self, name: str) -> None:
        """End a daemon without a word."""
        context, process = self._running.pop(name)
        process.kill()
        context.__exit__(None, None, None)

    def kill_node(self, node: str) -> None:
        """Have a node vanish with everything that runs on it, as in a loss of power."""
        ids = self.run("squeue", "--noheader", f"--nodelist={node}", "--format=%i").split()
        self.kill(node)
        for pid in _pids_called(tuple(f"slurmstepd: [{id_}." for id_ in ids)):  # they would report the jobs' ends
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in _pids_with(f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.home}"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def revive_node(self, node: str) -> None:
        """Have a node come back as after a restart; wait until it takes jobs."""
        if node not in self._running:
            self.start(node)
        self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        wait_until(lambda: self.idle(node), timeout_s=_START_S, what=f"{node} to be idle")

    def idle(self, node: str) -> bool:
        """Whether a node is there and has nothing to do."""
        return self.run("sinfo", "--noheader", "--nodes", node, "--format=%T").split()[:1] == ["idle"]

    def jobs(self, name: str) -> list[str]:
        """Return the ids of the jobs with this name that have not ended."""
        states = "PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING,REQUEUED,STOPPED,RESIZING,SIGNALING,STAGE_OUT"
        found = self.run("squeue", "--noheader", f"--name={name}", f"--states={states}", "--format=%i")
        return found.split()

    def heal(self) -> None:
        """Start what a test has ended, and bring back the nodes it has drained."""
        for name in self._daemons:
            if name not in self._running:
                self.start(name)
        for node in NODES:
            if not self.idle(node):
                self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)

    def end(self) -> None:
        """End all daemons and the jobs they left behind."""
        self.run("scancel", "--user=root", check=False)
        for name in reversed(list(self._running)):
            self.stop(name)
        for pid in _pids_with(f"SLURM_CONF={self.home}"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _ready(self, name: str) -> Callable[[], bool]:
        def succeeds(*argv: str) -> bool:
            try:
                self.run(*argv)
            except RuntimeError:
                return False
            return True

        munge = f"--socket={self.home}/munge/socket"
        checks: dict[str, Callable[[], bool]] = {
            "munged": lambda: succeeds("munge", munge, "--no-input", f"--output={os.devnull}"),
            "mariadbd": lambda: succeeds("mariadb-admin", f"--socket={self.home}/mysql.sock", "ping"),
            "slurmdbd": lambda: succeeds("sacctmgr", "--noheader", "list", "cluster"),
            "slurmctld": lambda: succeeds("scontrol", "ping"),
        }
        return checks.get(name, lambda: True)  # a node cannot be idle before it has been asked by the controller


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """Run a cluster for the `with` block; its logs stay in ``folder``.

    Raises RuntimeError with the end of a log if a daemon does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # sockets need short paths
    home.chmod(0o755)
    (folder / "home").unlink(missing_ok=True)
    (folder / "home").symlink_to(home)
    cluster = _configured(home)
    try:
        cluster.start("munged")
        cluster.run("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={home}/mysql", "--skip-test-db")
        cluster.start("mariadbd")
        _make_database(cluster)
        cluster.start("slurmdbd")
        for command in _ACCOUNTS:
            cluster.run("sacctmgr", "--immediate", *command)
        for name in ("slurmctld", *NODES):
            cluster.start(name)
        wait_until(lambda: all(cluster.idle(node) for node in NODES), timeout_s=_START_S, what="the nodes to be idle")
        yield cluster
    finally:
        cluster.end()
        shutil.copytree(home / "log", folder / "log", dirs_exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)


def _configured(home: Path) -> Cluster:
    for name in ("munge", "run", "state", "log", "etc", *(f"spool/{node}" for node in NODES)):
        (home / name).mkdir(parents=True)
    (home / "munge").chmod(0o711)
    key = home / "munge" / "key"
    key.touch(mode=0o400)
    key.write_bytes(secrets.token_bytes(1024))
    ctld_port, dbd_port = free_ports(2)
    first = free_ports(len(NODES), adjacent=True)[0]
    values = {
        "cluster": _CLUSTER,
        "host": platform.node(),
        "home": home,
        "ctld_port": ctld_port,
        "first_job": ctld_port * 1000,  # another cluster on this machine has other ids
        "dbd_port": dbd_port,
        "node_ports": f"{first}-{first + len(NODES) - 1}",
        "node_silence_s": NODE_SILENCE_S,
    }
    (home / "etc/slurm.conf").write_text(_SLURM_CONF.format(**values))
    dbd = home / "etc/slurmdbd.conf"
    dbd.touch(mode=0o600)
    dbd.write_text(_SLURMDBD_CONF.format(**values))
    base = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL") if name in os.environ}
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    env = {**base, "PATH": path, "SLURM_CONF": str(home / "etc/slurm.conf"), "MYSQL_UNIX_PORT": f"{home}/mysql.sock"}
    cluster = Cluster(home, env)
    cluster._daemons.update(_daemons(home))
    return cluster


def _daemons(home: Path) -> Mapping[str, _Daemon]:
    term = signal.SIGTERM
    munged: Argv = [
        *("munged", "--foreground", "--force", f"--socket={home}/munge/socket", f"--key-file={home}/munge/key"),
        *(f"--log-file={home}/log/munged.log", f"--pid-file={home}/munge/pid", f"--seed-file={home}/munge/seed"),
    ]
    mariadbd: Argv = [
        *("mariadbd", "--no-defaults", "--user=root", f"--datadir={home}/mysql", f"--socket={home}/mysql.sock"),
        *("--skip-networking", f"--pid-file={home}/run/mariadbd.pid", "--innodb-lock-wait-timeout=900"),
        *("--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"),
    ]
    nodes = {node: _Daemon(["slurmd", "-D", "-N", node], term) for node in NODES}
    return {
        "munged": _Daemon(munged, term),
        "mariadbd": _Daemon(mariadbd, term),
        "slurmdbd": _Daemon(["slurmdbd", "-D"], term),
        "slurmctld": _Daemon(["slurmctld", "-D"], term),
        **nodes,
    }


def _make_database(cluster: Cluster) -> None:
    sql = (
        "CREATE DATABASE slurm_acct; CREATE USER slurm@localhost IDENTIFIED BY 'slurm';"
        " GRANT ALL ON slurm_acct.* TO slurm@localhost;"
    )
    cluster.run("mariadb", "--no-defaults", f"--socket={cluster.home}/mysql.sock", "--execute", sql)


def ensure_users() -> None:
    """Make the local people who use the cluster, unless they are there; tests in other processes do so as well."""
    with Path(tempfile.gettempdir(), "snakeway-tests-users.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for user in USERS:
            try:
                pwd.getpwnam(user)
            except KeyError:
                run(
                    ["useradd", "--create-home", "--shell", "/bin/bash", user],
                    env={"PATH": os.defpath + ":/usr/sbin:/sbin"},
                )


def _pids_with(*signs: str) -> Iterator[int]:
    """Yield the processes whose environment holds all of ``signs``; beginnings of ``NAME=value`` do."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if all(any(item.startswith(sign.encode()) for item in environment) for sign in signs):
                yield int(entry.name)


def _pids_called(titles: tuple[str, ...]) -> Iterator[int]:
    """Yield the processes whose command line begins with one of ``titles``."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "cmdline").read_text(errors="replace").startswith(titles):
                    yield int(entry.name)


def main() -> None:
    """Run a cluster until Ctrl-C, or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's & has the first ignored
        signal.signal(number, signal.default_int_handler)
    ensure_users()
    with slurm_cluster(Path(sys.argv[1])) as cluster, suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={cluster.env['SLURM_CONF']}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
