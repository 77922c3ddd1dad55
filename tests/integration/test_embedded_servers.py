"""C1, W22: embedded servers are shared, outlive any kill, keep their data and stop when unused."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from taskplatform.embedded import Endpoints, endpoints, erase, leave, status, stop
from taskplatform.embedded.home import State
from taskplatform.embedded.place import account, reachable
from taskplatform.errors import Unavailable

USER = """
import json, sys
from pathlib import Path
from taskplatform.embedded import endpoints
print(json.dumps(vars(endpoints(Path(sys.argv[1])))), flush=True)
sys.stdin.read()
"""


class User:
    """A process that uses the servers of a home until it is told to end."""

    def __init__(self, home: Path, *prefix: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def endpoints(self) -> Endpoints:
        assert self.process.stdout is not None
        return Endpoints(**json.loads(self.process.stdout.readline()))

    def end(self) -> None:
        self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def user(home: Path, *prefix: str) -> Iterator[User]:
    made = User(home, *prefix)
    try:
        yield made
    finally:
        made.kill()


def wait_until(fact: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def answering(found: Endpoints) -> bool:
    """Whether both servers do real work."""
    try:
        with psycopg.connect(found.database_url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
        with Redis.from_url(found.broker_url) as client:
            client.ping()
    except (psycopg.OperationalError, ConnectionError):
        return False
    except Exception as error:
        if type(error).__module__.startswith("redis."):
            return False
        raise
    return True


def running(home: Path) -> State:
    state = status(home)
    assert state is not None
    return state


def gone(*pids: int) -> bool:
    def alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return not any(alive(pid) for pid in pids)


def stopped(state: State) -> bool:
    return gone(state.keeper, *state.pids.values())


def test_processes_that_start_at_once_share_one_pair(own_home: Path) -> None:
    with ExitStack() as stack:
        users = [stack.enter_context(user(own_home)) for _ in range(4)]

        found = {one.endpoints() for one in users}

        assert len(found) == 1
        assert answering(found.pop())
        assert len(list(_postmasters(own_home))) == 1


def test_the_last_one_stops_them_and_data_stay(own_home: Path) -> None:
    with user(own_home) as first, user(own_home) as second:
        found = first.endpoints()
        second.endpoints()
        _store(found, "kept")
        state = running(own_home)
        first.end()
        assert answering(found)
        second.end()
        wait_until(lambda: stopped(state))

    with user(own_home) as third:
        assert _stored(third.endpoints()) == ["kept"]


def test_a_user_killed_with_9_counts_as_gone(own_home: Path) -> None:
    with user(own_home) as one:
        one.endpoints()
        state = running(own_home)
        one.kill()
        wait_until(lambda: stopped(state))


def test_a_forked_child_keeps_them_after_its_parent(own_home: Path) -> None:
    # The child holds the parent's end of the pipe, so that it ends when the test lets it.
    forking = USER.replace("sys.stdin.read()", "import os; os.fork() and os._exit(0); input()")
    parent = subprocess.Popen(
        [sys.executable, "-c", forking, str(own_home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    found = Endpoints(**json.loads(parent.stdout.readline()))
    state = running(own_home)
    parent.wait()
    # Longer than the keeper lingers: no fact shows that something will not happen.
    time.sleep(3)
    assert answering(found)

    parent.stdin.close()
    parent.stdout.close()
    wait_until(lambda: stopped(state))


def test_a_terminal_that_interrupts_its_group_does_not_reach_them(own_home: Path) -> None:
    with user(own_home) as one:
        found = one.endpoints()
        state = running(own_home)
        own_group = os.getpgid(one.process.pid)

        assert own_group not in {os.getpgid(pid) for pid in (state.keeper, *state.pids.values())}
        os.kill(state.keeper, signal.SIGTERM)
        os.kill(state.keeper, signal.SIGINT)
        _store(found, "still there")
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
        _store(found, "committed")
        before = running(own_home)

        os.kill(before.pids[name], signal.SIGKILL)
        wait_until(lambda: running(own_home).pids.get(name, 0) not in (0, before.pids[name]))

        wait_until(lambda: answering(found))
        assert _stored(found) == ["committed"]


def test_everything_killed_at_once_starts_again_with_its_data(own_home: Path) -> None:
    with user(own_home) as one:
        _store(one.endpoints(), "committed")
        state = running(own_home)
        for pid in (state.keeper, one.process.pid, *state.pids.values()):
            os.kill(pid, signal.SIGKILL)

    with user(own_home) as two:
        assert _stored(two.endpoints()) == ["committed"]


def test_a_stale_pid_that_is_some_other_process_does_not_block_the_start(own_home: Path) -> None:
    with user(own_home) as one:
        one.endpoints()
        lock = _data(own_home) / "postmaster.pid"
        lines = lock.read_text().splitlines()
    stop(own_home)
    assert not lock.exists()
    with subprocess.Popen(["sleep", "60"], user=_data(own_home).stat().st_uid) as other:
        lock.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        try:
            with user(own_home) as two:
                assert answering(two.endpoints())
        finally:
            other.kill()


def test_only_what_is_missing_is_started_and_the_rest_on_demand(own_home: Path) -> None:
    only_broker = endpoints(own_home, database=False)
    try:
        assert only_broker.database_url == ""
        with Redis.from_url(only_broker.broker_url) as client:
            assert client.ping()

        both = endpoints(own_home)
        assert replace(both, database_url="") == only_broker
        assert answering(both)
    finally:
        leave(own_home)


def test_settings_are_those_of_a_durable_server(own_home: Path) -> None:
    with user(own_home) as one:
        found = one.endpoints()
        with psycopg.connect(found.database_url) as connection:
            for name, value in {"fsync": "on", "synchronous_commit": "on"}.items():
                row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
                assert row == (value,)
        with Redis.from_url(found.broker_url, decode_responses=True) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


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
    (_data(own_home) / "PG_VERSION").write_text("9\n")

    with pytest.raises(Unavailable, match=r"(?s)9.*keeper\.log"):
        endpoints(own_home)
    leave(own_home)


def test_an_ordinary_user_needs_nothing_of_root(own_home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("all other tests run as an ordinary user here")
    ordinary = pwd.getpwnam("nobody")
    os.chown(own_home, ordinary.pw_uid, ordinary.pw_gid)
    # May read the interpreter wherever it is installed, and nothing else that root may.
    drop = (
        *("setpriv", "--reuid=nobody", "--clear-groups", "--inh-caps=+dac_read_search"),
        "--ambient-caps=+dac_read_search",
    )
    with user(own_home, *drop) as one:
        found = one.endpoints()
        assert answering(found)
        _store(found, "mine")
        state = running(own_home)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in state.pids.values()} == {
            ordinary.pw_uid
        }
        one.end()
        wait_until(lambda: stopped(state))

    with user(own_home) as root:
        assert _stored(root.endpoints()) == ["mine"]
        root.end()
        wait_until(lambda: status(own_home) is None)

    with user(own_home, *drop) as one:
        assert _stored(one.endpoints()) == ["mine"]


def test_root_can_use_a_home_that_others_cannot_reach() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    private = Path(tempfile.mkdtemp(prefix="taskplatform-private-"))
    home = private / ".taskplatform"
    try:
        assert not reachable(private, account())
        with user(home) as one:
            _store(one.endpoints(), "kept")
            one.end()
            wait_until(lambda: status(home) is None)
        with user(home) as two:
            assert _stored(two.endpoints()) == ["kept"]
        elsewhere = Path((home / "place").read_text())
        assert private.stat().st_mode & 0o777 == 0o700
    finally:
        erase(home)
        private.rmdir()
    assert not elsewhere.exists()


def _data(home: Path) -> Path:
    return home / "postgres"


def _postmasters(home: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[1:3] == [b"-D", os.fsencode(_data(home))]:
            yield int(process.name)


def _store(found: Endpoints, text: str) -> None:
    with psycopg.connect(found.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [text])


def _stored(found: Endpoints) -> list[str]:
    with psycopg.connect(found.database_url) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM kept")]
