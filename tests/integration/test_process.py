"""Processes by identity, with real processes."""

import dataclasses
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakeway import ids
from snakeway.supervisor.process import (
    Identity,
    Liveness,
    identify,
    kill_left_behind,
    left_behind,
    liveness,
    lock_is_held,
    signal_group,
)
from tests.support.waiting import wait_until

TITLE = "no process is called this"


@pytest.fixture
def marker() -> str:
    """A variable that marks the processes of one test only: others run at the same time on this machine."""
    return f"SNAKEWAY_ATTEMPT_ID=test-{ids.new_id()}"


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads its own session and does nothing."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_running_process_is_alive(leader: subprocess.Popen[bytes]) -> None:
    assert liveness(identify(leader.pid)) is Liveness.ALIVE


def test_an_ended_process_is_dead_even_before_its_parent_looked(leader: subprocess.Popen[bytes]) -> None:
    identity = identify(leader.pid)
    leader.kill()
    wait_until(lambda: liveness(identity) is Liveness.DEAD or None, timeout_s=10, what="the process to be a zombie")
    leader.wait()
    assert liveness(identity) is Liveness.DEAD
    with pytest.raises(ProcessLookupError):
        identify(leader.pid)


def other(identity: Identity, **members: object) -> Identity:
    return dataclasses.replace(identity, **members)  # type: ignore[arg-type]


def test_what_cannot_be_told_is_not_guessed(leader: subprocess.Popen[bytes]) -> None:
    identity = identify(leader.pid)
    assert liveness(other(identity, start_ticks=identity.start_ticks + 1)) is Liveness.DEAD  # the pid was given again
    assert liveness(other(identity, boot_id="other", host="elsewhere")) is Liveness.UNKNOWN
    assert liveness(other(identity, pid_namespace="pid:[1]")) is Liveness.UNKNOWN
    assert liveness(other(identity, boot_id="other")) is Liveness.DEAD  # this host was started anew


def test_a_signal_for_another_life_of_the_pid_is_not_sent(leader: subprocess.Popen[bytes]) -> None:
    identity = identify(leader.pid)
    signal_group(other(identity, start_ticks=identity.start_ticks - 1), signal.SIGKILL)
    signal_group(other(identity, boot_id="other", host="elsewhere"), signal.SIGKILL)
    assert leader.poll() is None
    signal_group(identity, signal.SIGINT)
    assert leader.wait(10) == -signal.SIGINT


def test_what_left_the_session_is_found_by_its_environment(marker: str) -> None:
    name, _, value = marker.partition("=")
    script = "import subprocess as s, sys; s.Popen(['sleep','600'], start_new_session=True); s.Popen(['sleep','601'])"
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, name: value}, start_new_session=True)
    session = identify(parent.pid)
    parent.wait(30)
    wait_until(lambda: len(left_behind(session, marker, TITLE)) == 2, timeout_s=10, what="two orphans")
    assert kill_left_behind(session, marker, TITLE) == 2
    assert left_behind(session, marker, TITLE) == []


def test_a_stranger_in_a_session_of_the_same_number_is_spared(marker: str) -> None:
    name = f"sleeper-{ids.new_id()}"
    with subprocess.Popen([name, "600"], executable="/bin/sleep", start_new_session=True) as leader:
        identity = identify(leader.pid)
        assert left_behind(identity, marker, TITLE) == []
        assert left_behind(identity, marker, f"{name}\x00600") == [leader.pid]
        leader.kill()


def test_a_member_without_a_sign_goes_with_one_that_has_it(marker: str) -> None:
    name, _, value = marker.partition("=")
    parent = subprocess.Popen(
        ["bash", "-c", "env -i sleep 602 & sleep 603 & exit"], env={**os.environ, name: value}, start_new_session=True
    )
    session = identify(parent.pid)
    parent.wait(30)
    wait_until(lambda: len(left_behind(session, marker, TITLE)) == 2, timeout_s=10, what="two orphans")
    assert left_behind(dataclasses.replace(session, boot_id="other"), marker, TITLE) != []
    assert kill_left_behind(session, marker, TITLE) == 2


def test_the_lock_lives_as_long_as_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_is_held(path) is Liveness.UNKNOWN
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_is_held(path) is Liveness.ALIVE
    assert lock_is_held(path) is Liveness.DEAD
