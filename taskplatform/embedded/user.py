"""The users' side: register, find the keeper or start one, learn the URLs."""

import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from taskplatform.embedded.home import BROKER, DATABASE, Home, State, try_lock, wait_for_lock
from taskplatform.embedded.software import require_wheels
from taskplatform.errors import Unavailable

STARTS = 3


@dataclass(frozen=True)
class Endpoints:
    """Where the servers listen; empty for one that was not asked for and does not run."""

    database_url: str
    broker_url: str


# Home -> descriptor of its users' lock. Open for the life of the process: the kernel lets go of
# the lock when the last copy of the descriptor is gone, in forked children too, kill -9 or not.
_registered: dict[Path, int] = {}
# Nobody forks while the keeper's lock is looked at: the child would keep it for ever.
_guard = threading.RLock()
os.register_at_fork(
    before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release
)


def endpoints(
    home: Path, *, database: bool = True, broker: bool = True, timeout: float = 60.0
) -> Endpoints:
    """Make this process a user of the home's servers, starting them if nobody has.

    They run at least as long as this process and children forked from it. Raises Unavailable
    if they are not ready within `timeout` seconds.
    """
    place = Home(home.resolve())
    wanted = [name for name, wish in ((DATABASE, database), (BROKER, broker)) if wish]
    deadline = time.monotonic() + timeout
    with _guard:
        place.create()
        _register(place, deadline)
        state = _find_or_start(place, wanted, deadline)
    return Endpoints(state.urls.get(DATABASE, ""), state.urls.get(BROKER, ""))


def leave(home: Path) -> None:
    """Stop being a user before this process ends; forked children remain users."""
    with _guard:
        if (descriptor := _registered.pop(home.resolve(), None)) is not None:
            os.close(descriptor)


def status(home: Path) -> State | None:
    """What runs now, without starting anything; None if no keeper lives."""
    place = Home(home.resolve())
    if not place.keeper_lock.exists():
        return None
    with _keeper_lock(place) as free:
        return None if free is not None else place.read_state()


def stop(home: Path, timeout: float = 60.0) -> None:
    """Stop the servers even if they have users, also those that a killed keeper left behind."""
    place = Home(home.resolve())
    if not place.keeper_lock.exists():
        return
    leave(home)
    deadline = time.monotonic() + timeout
    swept = False
    while time.monotonic() < deadline:
        with _keeper_lock(place) as free:
            if free is not None and swept:
                return
            if free is not None:
                place.want_nothing()
                _start_keeper(place, free)
            swept = True
        _signal_keeper(place)
        time.sleep(0.02)
    raise Unavailable(f"embedded servers did not stop in {timeout:g} s; see {place.log}")


def erase(home: Path) -> None:
    """Stop the servers and delete the home with all data."""
    stop(home)
    elsewhere = home / "place"
    if elsewhere.exists():
        shutil.rmtree(elsewhere.read_text(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


@atexit.register
def _replace_killed_keepers() -> None:
    """Leave no servers behind if this was the last user and the keeper was killed."""
    for path in _registered:
        place = Home(path)
        with suppress(OSError), _keeper_lock(place) as free:
            if free is not None and place.state_file.exists():
                _start_keeper(place, free)


def _register(place: Home, deadline: float) -> None:
    descriptor = _registered.get(place.path)
    if descriptor is None or not _same_file(descriptor, place.users_lock):
        descriptor = place.open(place.users_lock)
        if not wait_for_lock(descriptor, fcntl.LOCK_SH, deadline):
            os.close(descriptor)
            raise Unavailable(f"embedded servers are stopping and do not end; see {place.log}")
        if (stale := _registered.pop(place.path, None)) is not None:
            os.close(stale)
        _registered[place.path] = descriptor
    # Tells the keeper, which looks in intervals, of users that come and go in between.
    os.utime(descriptor)


def _find_or_start(place: Home, wanted: list[str], deadline: float) -> State:
    starts = 0
    asked = False
    while time.monotonic() < deadline:
        with _keeper_lock(place) as free:
            if free is not None:
                state = place.read_state() if starts else None
                if (state and state.error) or starts == STARTS:
                    raise _failed(place, state)
                require_wheels(wanted)
                _ask(place, wanted)
                asked = True
                _start_keeper(place, free)
                starts += 1
        # The keeper lives: what it said is true, or is what a predecessor's servers still do.
        state = place.read_state()
        if state and not state.error and all(name in state.urls for name in wanted):
            return state
        if not asked:
            require_wheels(wanted)
            _ask(place, wanted)
            asked = True
        time.sleep(0.01)
    raise Unavailable(
        f"embedded servers were not ready in time; see {place.log} and the logs next to it"
    )


def _ask(place: Home, wanted: list[str]) -> None:
    for name in wanted:
        place.want(name)


@contextmanager
def _keeper_lock(place: Home) -> Iterator[int | None]:
    """The keeper's lock if no keeper lives, else None."""
    with _guard:
        descriptor = place.open(place.keeper_lock)
        try:
            yield descriptor if try_lock(descriptor, fcntl.LOCK_EX) else None
        finally:
            os.close(descriptor)


def _start_keeper(place: Home, lock: int) -> None:
    # The keeper inherits the lock: no moment in which a second one could start, and none in
    # which what the last one said could be taken for the new one's word.
    place.state_file.unlink(missing_ok=True)
    os.ftruncate(lock, 0)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    log = place.open(place.log, os.O_WRONLY | os.O_APPEND)
    try:
        command = [sys.executable, "-m", "taskplatform.embedded.keeper", str(place.path), str(lock)]
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            pass_fds=[lock],
            start_new_session=True,
            check=False,
        ).returncode
    finally:
        os.close(log)
    if code:
        raise _failed(place, None)


def _signal_keeper(place: Home) -> None:
    written = place.keeper_lock.read_text()
    if written.isdigit():
        with suppress(ProcessLookupError):
            os.kill(int(written), signal.SIGUSR1)


def _same_file(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())


def _failed(place: Home, state: State | None) -> Unavailable:
    reason = state.error if state and state.error else "the keeper ended"
    return Unavailable(f"embedded servers do not start: {reason}; see {place.log}")
