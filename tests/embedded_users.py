"""Processes that use the embedded servers of a home, and the facts to judge them by."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from redis import Redis

from taskplatform.embedded import Endpoints, status
from taskplatform.embedded.home import State

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


def data(home: Path) -> Path:
    return home / "postgres"


def postmasters(home: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[1:3] == [b"-D", os.fsencode(data(home))]:
            yield int(process.name)


def store(found: Endpoints, text: str) -> None:
    with psycopg.connect(found.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [text])


def stored(found: Endpoints) -> list[str]:
    with psycopg.connect(found.database_url) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM kept")]
