"""The process that keeps the servers: `python -m taskplatform.embedded.keeper HOME LOCK`.

Users hold a shared lock on one file for their lives; whoever gets it exclusively knows that
nobody is left. The keeper tries that in intervals, and holds the lock while it stops the
servers, so that a user who comes then waits, and starts the next keeper. The keeper in turn
holds the keeper's lock, inherited from the user who started it, so that there is never a
second one. kill -9 of anybody frees what it held. A keeper that finds servers of a killed one
takes them over.
"""

import fcntl
import logging
import os
import signal
import sys
import time
from pathlib import Path

from taskplatform.embedded.home import BROKER, DATABASE, NAMES, Home, State, try_lock
from taskplatform.embedded.place import Place, settle
from taskplatform.embedded.postgres import Postgres
from taskplatform.embedded.server import Server
from taskplatform.embedded.valkey import Valkey
from taskplatform.errors import Unavailable

log = logging.getLogger(__name__)

# Consecutive commands of a shell find the servers of the last one.
LINGER = 2.0
STARTING_INTERVAL = 0.01
INTERVAL = 0.1


class Keeper:
    """Looks after the servers that were asked for until nobody is left."""

    def __init__(self, home: Home, place: Place) -> None:
        self.home = home
        self.place = place
        self.servers: dict[str, Server] = {}
        self.said: State | None = None
        self.stop_now = False
        self.linger = LINGER
        self._users = home.open(home.users_lock)
        self._seen = (0, time.monotonic())

    def keep(self) -> None:
        """Work until the last user has gone, `stop` asks for it or the home is deleted."""
        self._take_over()
        while not (self.stop_now or self._homeless() or self._alone()):
            for name in self.home.wanted():
                if name not in self.servers:
                    self.servers[name] = self._server(name)
            for server in self.servers.values():
                server.tick()
            self._say()
            time.sleep(INTERVAL if self._settled() else STARTING_INTERVAL)

    def stop(self) -> None:
        """Stop all servers, then let users in again."""
        if not self._homeless():
            self.home.state_file.unlink(missing_ok=True)
        for server in self.servers.values():
            server.ask_to_stop()
        for server in self.servers.values():
            server.stop()
        if self._homeless():
            self.place.discard(self.home)
        else:
            self.home.want_nothing()

    def _take_over(self) -> None:
        for name in NAMES:
            if (self.place.root / ("postgres" if name == DATABASE else "valkey")).exists():
                server = self._server(name)
                if server.adopt():
                    self.servers[name] = server

    def _server(self, name: str) -> Server:
        password = self.home.password()
        if name == BROKER:
            return Server(Valkey(self.place, password), self.home.path / "valkey.log")
        return Server(Postgres(self.place, password), self.home.path / "postgres.log")

    def _say(self) -> None:
        ready = {name: server for name, server in self.servers.items() if server.ready}
        state = State(
            os.getpid(),
            {name: server.url for name, server in ready.items()},
            {name: server.process.pid for name, server in ready.items() if server.process},
        )
        if state != self.said:
            self.home.write_state(state)
            self.said = state

    def _settled(self) -> bool:
        return all(server.ready or server.failures for server in self.servers.values())

    def _alone(self) -> bool:
        if not try_lock(self._users, fcntl.LOCK_EX):
            self._seen = (self._seen[0], time.monotonic())
            return False
        # Users that came and went between two looks have left their mark.
        touched = os.fstat(self._users).st_mtime_ns
        if touched != self._seen[0]:
            self._seen = (touched, time.monotonic())
        if time.monotonic() - self._seen[1] >= self.linger:
            return True
        fcntl.flock(self._users, fcntl.LOCK_UN)
        return False

    def _homeless(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._users), self.home.users_lock.stat())
        except OSError:
            return True


def main(arguments: list[str]) -> None:
    """Become a child of init, so that no user has to wait for this process, and keep."""
    home, lock = Home(Path(arguments[0])), int(arguments[1])
    if os.fork():
        os._exit(0)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o022)
    try:
        keeper = Keeper(home, settle(home))
        _obey_signals(keeper)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        log.info("keeper %d starts", os.getpid())
        try:
            keeper.keep()
        finally:
            keeper.stop()
    except Unavailable as error:
        log.error("%s", error)
        home.write_state(State(os.getpid(), error=str(error)))
        sys.exit(1)
    except Exception as error:
        log.exception("the keeper fails")
        home.write_state(State(os.getpid(), error=f"{type(error).__name__}: {error}"))
        sys.exit(1)
    log.info("keeper %d ends", os.getpid())


def _obey_signals(keeper: Keeper) -> None:
    def stop_now(*_: object) -> None:
        keeper.stop_now = True

    def no_linger(*_: object) -> None:
        keeper.linger = 0.0

    # A terminal or an init that ends everything: the users decide, they may still be draining.
    # Handlers, since ignored signals would be ignored by the servers too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, no_linger)
    signal.signal(signal.SIGUSR1, stop_now)


if __name__ == "__main__":
    main(sys.argv[1:])
