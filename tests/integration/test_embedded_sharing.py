"""C1, W22: embedded servers are shared, keep their data and stop when nobody is left."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from taskplatform.embedded import Endpoints, endpoints, erase, leave, software, status
from taskplatform.embedded.place import account, reachable
from taskplatform.errors import Unavailable
from tests.embedded_users import (
    USER,
    answering,
    postmasters,
    running,
    stopped,
    store,
    stored,
    user,
    wait_until,
)


def test_processes_that_start_at_once_share_one_pair(own_home: Path) -> None:
    with ExitStack() as stack:
        users = [stack.enter_context(user(own_home)) for _ in range(4)]

        found = {one.endpoints() for one in users}

        assert len(found) == 1
        assert answering(found.pop())
        assert len(list(postmasters(own_home))) == 1


def test_the_last_one_stops_them_and_data_stay(own_home: Path) -> None:
    with user(own_home) as first, user(own_home) as second:
        found = first.endpoints()
        second.endpoints()
        store(found, "kept")
        state = running(own_home)
        first.end()
        assert answering(found)
        second.end()
        wait_until(lambda: stopped(state))

    with user(own_home) as third:
        assert stored(third.endpoints()) == ["kept"]


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


def test_without_wheels_the_remedy_is_named(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(software.WHEELS, "database", "not_installed")

    with pytest.raises(Unavailable, match=r"no TASKPLATFORM_DATABASE_URL .*taskplatform\[embedded"):
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
        store(found, "mine")
        state = running(own_home)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in state.pids.values()} == {
            ordinary.pw_uid
        }
        one.end()
        wait_until(lambda: stopped(state))

    with user(own_home) as root:
        assert stored(root.endpoints()) == ["mine"]
        root.end()
        wait_until(lambda: status(own_home) is None)

    with user(own_home, *drop) as one:
        assert stored(one.endpoints()) == ["mine"]


def test_root_can_use_a_home_that_others_cannot_reach() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    private = Path(tempfile.mkdtemp(prefix="taskplatform-private-"))
    home = private / ".taskplatform"
    try:
        assert not reachable(private, account())
        with user(home) as one:
            store(one.endpoints(), "kept")
            one.end()
            wait_until(lambda: status(home) is None)
        with user(home) as two:
            assert stored(two.endpoints()) == ["kept"]
        elsewhere = Path((home / "place").read_text())
        assert private.stat().st_mode & 0o777 == 0o700
    finally:
        erase(home)
        private.rmdir()
    assert not elsewhere.exists()
