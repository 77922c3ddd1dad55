"""C1, W22: embedded servers survive kill -9 of users, of the keeper and of each server."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from taskplatform.embedded import endpoints, leave, stop
from taskplatform.errors import Unavailable
from tests.embedded_users import (
    answering,
    data,
    gone,
    running,
    stopped,
    store,
    stored,
    user,
    wait_until,
)


def test_a_user_killed_with_9_counts_as_gone(own_home: Path) -> None:
    with user(own_home) as one:
        one.endpoints()
        state = running(own_home)
        one.kill()
        wait_until(lambda: stopped(state))


def test_a_terminal_that_interrupts_its_group_does_not_reach_them(own_home: Path) -> None:
    with user(own_home) as one:
        found = one.endpoints()
        state = running(own_home)
        own_group = os.getpgid(one.process.pid)

        assert own_group not in {os.getpgid(pid) for pid in (state.keeper, *state.pids.values())}
        os.kill(state.keeper, signal.SIGTERM)
        os.kill(state.keeper, signal.SIGINT)
        store(found, "still there")
        assert running(own_home) == state


def test_the_next_keeper_takes_over_from_a_killed_one(own_home: Path) -> None:
    with user(own_home) as one:
        found = one.endpoints()
        before = running(own_home)
        os.kill(before.keeper, signal.SIGKILL)
        wait_until(lambda: gone(before.keeper))
        assert answering(found)

        with user(own_home) as two:
            assert two.endpoints() == found
            after = running(own_home)
            assert after.keeper != before.keeper
            assert after.pids == before.pids
            one.end()
            two.end()
            wait_until(lambda: stopped(after))


@pytest.mark.parametrize("name", ["database", "broker"])
def test_a_killed_server_comes_back_at_the_same_address(own_home: Path, name: str) -> None:
    with user(own_home) as one:
        found = one.endpoints()
        store(found, "committed")
        before = running(own_home)

        os.kill(before.pids[name], signal.SIGKILL)
        wait_until(lambda: running(own_home).pids.get(name, 0) not in (0, before.pids[name]))

        wait_until(lambda: answering(found))
        assert stored(found) == ["committed"]


def test_a_broker_whose_file_is_unreadable_starts_empty(own_home: Path) -> None:
    """F22: killed while its disk was full, it would never start again; messages are rung again."""
    with user(own_home) as one:
        found = one.endpoints()
        with Redis.from_url(found.broker_url) as redis:
            redis.set("lost", "1")
            redis.set("with it", "1")
        before = running(own_home)
        (file,) = place(own_home).glob("valkey/appendonlydir/*.incr.aof")
        written = file.read_bytes()
        file.write_bytes(written[:40] + b"no length" + written[40:])

        os.kill(before.pids["broker"], signal.SIGKILL)
        wait_until(
            lambda: running(own_home).pids.get("broker", 0) not in (0, before.pids["broker"])
        )

        wait_until(lambda: answering(found))
        with Redis.from_url(found.broker_url) as redis:
            assert not redis.exists("lost")
        assert (place(own_home) / "valkey.unreadable").is_dir()


def place(home: Path) -> Path:
    """Where the data of a home lie, which its user may not reach."""
    remembered = home / "place"
    return Path(remembered.read_text()) if remembered.exists() else home


def test_everything_killed_at_once_starts_again_with_itsdata(own_home: Path) -> None:
    with user(own_home) as one:
        store(one.endpoints(), "committed")
        state = running(own_home)
        for pid in (state.keeper, one.process.pid, *state.pids.values()):
            os.kill(pid, signal.SIGKILL)

    with user(own_home) as two:
        assert stored(two.endpoints()) == ["committed"]


def test_a_stale_pid_that_is_some_other_process_does_not_block_the_start(own_home: Path) -> None:
    with user(own_home) as one:
        one.endpoints()
        lock = data(own_home) / "postmaster.pid"
        lines = lock.read_text().splitlines()
    stop(own_home)
    assert not lock.exists()
    with subprocess.Popen(["sleep", "60"], user=data(own_home).stat().st_uid) as other:
        lock.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        try:
            with user(own_home) as two:
                assert answering(two.endpoints())
        finally:
            other.kill()


def test_the_last_user_leaves_nothing_behind_a_killed_keeper(own_home: Path) -> None:
    with user(own_home) as one:
        one.endpoints()
        state = running(own_home)
        os.kill(state.keeper, signal.SIGKILL)
        wait_until(lambda: gone(state.keeper))
        one.end()
        wait_until(lambda: stopped(state))


def test_a_deleted_home_ends_its_servers(own_home: Path) -> None:
    with user(own_home) as one:
        one.endpoints()
        state = running(own_home)
        shutil.rmtree(own_home, ignore_errors=True)
        wait_until(lambda: stopped(state))


def test_servers_that_cannot_start_are_unavailable_and_name_the_log(own_home: Path) -> None:
    with user(own_home) as one:
        one.endpoints()
    stop(own_home)
    (data(own_home) / "PG_VERSION").write_text("9\n")

    with pytest.raises(Unavailable, match=r"(?s)9.*keeper\.log"):
        endpoints(own_home)
    leave(own_home)
