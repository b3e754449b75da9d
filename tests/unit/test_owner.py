"""As whom a run may run: which accounts, which names, what of the environment; and what the owner's program refuses."""

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from snakeway import ids, owner
from snakeway.directory import AttemptDirectory, run_directory
from snakeway.errors import Invalid
from snakeway.owner import CannotBecome, Owner, account_of, carried, is_name, of_directory, of_person
from snakeway.settings import Settings
from snakeway.supervisor import asowner

UIDS = {"ada": 1000, "bob": 60000, "service": 990, "root": 0, "toor": 0, "daemon": 1, "last": 999, "nobody": 65534}


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with these accounts, on which the service has one of its own."""

    def getpwnam(name: str) -> Any:
        return pwd.struct_passwd((name, "x", UIDS[name], 1000, "", f"/home/{name}", "/bin/sh"))

    def getpwuid(uid: int) -> Any:
        return getpwnam(next(name for name, each in UIDS.items() if each == uid))

    monkeypatch.setattr(owner.pwd, "getpwnam", getpwnam)
    monkeypatch.setattr(owner.pwd, "getpwuid", getpwuid)
    monkeypatch.setattr(owner.os, "geteuid", lambda: UIDS["service"])


def settings(**values: Any) -> Settings:
    return Settings(data_dir=Path("/data"), **({"run_as_owner": True} | values))


def test_an_owner_is_his_own_account_unless_the_setting_names_another() -> None:
    assert of_person(settings(), "ada") == Owner("ada", 1000, Path("/data"))
    assert of_person(settings(accounts={"local": "bob"}), "local") == Owner("bob", 60000, Path("/data"))
    assert of_person(settings(accounts={"ada": "bob"}), "ada") == Owner("bob", 60000, Path("/data"))


def test_the_services_own_account_is_nobody_else() -> None:
    assert of_person(settings(accounts={"local": "service"}), "local") is None
    assert of_person(settings(run_as_owner=False), "nobody at all") is None


@pytest.mark.parametrize("name", ["root", "toor", "daemon", "last", "nobody"])
def test_accounts_of_the_system_are_refused(name: str) -> None:
    with pytest.raises(Invalid, match="an account of the system"):
        account_of(name, {})
    with pytest.raises(Invalid, match="SNAKEWAY_ACCOUNTS"):
        account_of("local", {"local": name})


def test_root_is_refused_even_for_a_service_that_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner.os, "geteuid", lambda: 0)
    with pytest.raises(Invalid, match="an account of the system"):
        account_of("local", {"local": "root"})


def test_an_account_must_exist() -> None:
    with pytest.raises(Invalid, match="no local account 'eve'"):
        account_of("eve", {})


@pytest.mark.parametrize(
    "name", ["", "-u", "#0", "#1000", "+ada", "Ada", "a b", "ada\n", "a" * 33, "ada;id", "../ada", "ä"]
)
def test_a_name_that_sudo_could_take_for_something_else_is_none(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(Invalid, match="not the name of a local account"):
        account_of(name, {})
    with pytest.raises(ValidationError):
        settings(accounts={"local": name})


@given(st.text(max_size=40))
def test_a_name_is_plain(name: str) -> None:
    if is_name(name):
        assert name.isascii()
        assert name[0] == "_" or name[0].islower()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        assert len(name) <= 32


@pytest.mark.parametrize("name", ["SNAKEWAY_TOKEN", "LD_PRELOAD", "PYTHONPATH", "A=B", ""])
def test_some_variables_cannot_be_handed_on(name: str) -> None:
    with pytest.raises(ValidationError):
        settings(owner_environment=[name])


def test_no_secret_is_handed_on() -> None:
    given_ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "SLURM_CONF": "/etc/slurm.conf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=x",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=x",
        "SNAKEWAY_TOKEN": "x",
        "HOME": "/var/lib/service",
        "AWS_SECRET_ACCESS_KEY": "x",
        "SBATCH_QOS": "tight",
        "https_proxy": "http://user:password@proxy",
    }
    plain = {"PATH", "LC_ALL", "SLURM_CONF", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert carried(given_).keys() == plain
    assert carried(given_, ["SBATCH_QOS"]).keys() == plain | {"SBATCH_QOS"}


def test_sudo_is_called_without_a_shell_and_without_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; env; cat; echo "sudo: a word" >&2; exit 1\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SNAKEWAY_TOKEN", "secret")
    seen: list[str] = []
    run = owner.subprocess.run

    def listening(*arguments: Any, **options: Any) -> Any:
        done = run(*arguments, **options)
        seen.append(done.stdout)
        return done

    monkeypatch.setattr(owner.subprocess, "run", listening)
    with pytest.raises(CannotBecome, match="'mkdir' cannot be done as the account ada: sudo: a word"):
        Owner("ada", 1000, Path("/data")).call("mkdir", "x", given="order")
    words = seen[0].splitlines()
    assert words[:5] == ["-n", "-u", "ada", "--", owner.sys.executable]
    assert words[5:11] == ["-I", "-m", "snakeway.supervisor.asowner", "/data", "mkdir", "x"]
    assert words[-1] == "order"
    assert "secret" not in seen[0]


def test_without_sudo_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBecome, match="sudo is not installed"):
        Owner("ada", 1000, Path("/data")).call("mkdir", "x")


def test_a_directory_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = ids.new_id()
    assert of_directory(tmp_path, run_id) is None
    path = run_directory(tmp_path, run_id).path
    path.mkdir(parents=True)
    lstat = Path.lstat

    def owned_by(uid: int) -> None:
        def changed(self: Path) -> os.stat_result:
            found = lstat(self)
            return os.stat_result([*found[:4], uid, *found[5:]])

        monkeypatch.setattr(Path, "lstat", changed)

    owned_by(1000)
    assert of_directory(tmp_path, run_id) == Owner("ada", 1000, tmp_path)
    for uid in (990, 0, 1, 999, 65534):
        owned_by(uid)
        assert of_directory(tmp_path, run_id) is None


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Calls the owner's program in this process, as sudo would call it for whoever owns the data folder."""
    (tmp_path / "runs" / ".new").mkdir(parents=True)
    uid = (tmp_path / "runs").stat().st_uid
    monkeypatch.setattr(asowner.os, "geteuid", lambda: uid)
    monkeypatch.setattr(asowner.os, "umask", lambda _: 0)
    monkeypatch.setattr(asowner.os, "chdir", lambda _: None)
    monkeypatch.setattr(asowner, "MIN_UID", 0)
    monkeypatch.setenv("SUDO_UID", str(uid))

    def call(*arguments: str) -> str:
        code = asowner.main([str(tmp_path), *arguments] if not arguments or arguments[0] != "--" else arguments[1:])
        said = capsys.readouterr().err
        assert (code == 0) is (said == "")
        return said.strip()

    return call


def test_a_directory_is_made_and_may_be_made_again(called: Callable[..., str], tmp_path: Path) -> None:
    run_id = ids.new_id()
    assert called("mkdir", run_id) == called("mkdir", run_id) == ""
    assert (tmp_path / "runs" / ".new" / run_id / ".snakeway" / "run.json").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "x", "01a1fd9b-b746-7496-8040-580CADF6C03E"])
def test_a_run_is_an_id(called: Callable[..., str], name: str) -> None:
    for command in (["mkdir", name], ["remove", name], ["shim", name, "1"], ["cancel", name, "1"], ["decide", name]):
        assert called(*command) == "not an id"


def test_a_link_in_the_place_of_a_run_is_refused(called: Callable[..., str], tmp_path: Path) -> None:
    run_id, elsewhere = ids.new_id(), tmp_path / "elsewhere"
    (elsewhere / "kept").mkdir(parents=True)
    (tmp_path / "runs" / run_id).symlink_to(elsewhere)
    assert "is not a directory of this account" in called("remove", run_id)
    assert (elsewhere / "kept").exists()


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("relative", "an absolute path"),
        ("/a/../b", "an absolute path"),
        ("/a b", "an absolute path"),
        ("/", "No such file"),
    ],
)
def test_the_data_folder_is_a_plain_path(called: Callable[..., str], folder: str, said: str) -> None:
    assert said in called("--", folder, "remove", ids.new_id())


def test_a_data_folder_of_somebody_else_is_refused(called: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    for uid in ("4711", ""):
        monkeypatch.setenv("SUDO_UID", uid)
        assert "does not belong to the account that called sudo" in called("mkdir", ids.new_id())
    monkeypatch.delenv("SUDO_UID")
    assert "does not belong to the account that called sudo" in called("mkdir", ids.new_id())


@pytest.mark.parametrize("job", ["-u", "--user=root", "", "1 2", "1;2", "x", "1" * 19])
def test_a_job_is_a_number(called: Callable[..., str], tmp_path: Path, job: str) -> None:
    run_id = ids.new_id()
    (tmp_path / "runs" / run_id).mkdir()
    assert called("cancel", run_id, "12", job) == "not the id of a job"


def test_everything_is_removed_whatever_its_mode(called: Callable[..., str], tmp_path: Path) -> None:
    run_id = ids.new_id()
    deep = tmp_path / "runs" / run_id / "-rf" / "a b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    for folder in (deep, deep.parent, deep.parent.parent):
        folder.chmod(0o500)
    outside = tmp_path / "outside"
    outside.touch()
    (tmp_path / "runs" / run_id / "link").symlink_to(tmp_path)
    assert called("remove", run_id) == ""
    assert list((tmp_path / "runs" / run_id).iterdir()) == []
    assert outside.exists()


def test_what_jobs_have_closed_is_opened_for_the_service(tmp_path: Path) -> None:
    made = {"closed": 0o700, "closed/b": 0o600, "fine": 0o770, "fine/c": 0o660, ".snakemake/conda/x": 0o600}
    for name, mode in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if mode & 0o100 else path.touch()
        path.chmod(mode)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.touch(mode=0o600)
    (tmp_path / "link").symlink_to(outside)
    uid = tmp_path.stat().st_uid
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asowner.os, "geteuid", lambda: uid)
        asowner.open_up(tmp_path)
    found = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in made}
    assert found == made | {"closed": 0o770, "closed/b": 0o640}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600


def test_the_environment_of_a_cancel_is_that_of_the_newest_attempt(tmp_path: Path) -> None:
    for number, conf in ((9, "old"), (10, "new")):
        folder = AttemptDirectory(tmp_path / ".snakeway" / "attempts" / str(number))
        folder.path.mkdir(parents=True)
        folder.command.write_text(f'{{"env": {{"SLURM_CONF": "{conf}"}}}}')
    (tmp_path / ".snakeway/attempts/11").mkdir()
    (tmp_path / ".snakeway/attempts/1.old").mkdir()
    assert asowner._environment_of(tmp_path) == {"SLURM_CONF": "new"}
