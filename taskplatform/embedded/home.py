"""The folder that users and keeper of one pair of servers meet in."""

import contextlib
import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from taskplatform.errors import Unavailable

DATABASE = "database"
BROKER = "broker"
NAMES = (DATABASE, BROKER)


@dataclass(frozen=True)
class State:
    """What the keeper says: URLs and pids of servers that are ready, or why there are none."""

    keeper: int = 0
    urls: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Home:
    """Paths and locks; files are private to the owner of the folder."""

    path: Path

    @property
    def log(self) -> Path:
        """Where the keeper writes; the servers' own logs lie next to it."""
        return self.path / "keeper.log"

    @property
    def users_lock(self) -> Path:
        """Shared by every user for its life, taken exclusively by a keeper that stops."""
        return self.path / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the living keeper, from before its start to its end."""
        return self.path / "keeper.lock"

    @property
    def state_file(self) -> Path:
        """The keeper's word; believed only while the keeper lives."""
        return self.path / "servers.json"

    def create(self) -> None:
        """Make the folder; raises Unavailable if this user may not use it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot use {self.path} for embedded servers: {error}") from None

    def open(self, path: Path, flags: int = os.O_RDWR) -> int:
        """Open a private file of the home, owned by whoever owns the home."""
        try:
            descriptor = os.open(path, flags | os.O_CREAT, 0o600)
        except OSError as error:
            raise Unavailable(
                f"cannot use {self.path} for embedded servers: {error}; "
                "is it another user's? set TASKPLATFORM_HOME to a folder of your own"
            ) from None
        self.give_to_owner(descriptor)
        return descriptor

    def give_to_owner(self, descriptor: int) -> None:
        """As root in an ordinary user's home: leave no file that the user cannot open."""
        owner = self.path.stat()
        if os.geteuid() == 0 and os.fstat(descriptor).st_uid != owner.st_uid:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def write(self, path: Path, text: str) -> None:
        """Replace a private file in one step."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(self.open(temporary, os.O_WRONLY | os.O_TRUNC), "w") as file:
            file.write(text)
        temporary.replace(path)

    def read_state(self) -> State | None:
        """What the keeper last said; None if nothing yet."""
        try:
            return State(**json.loads(self.state_file.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise Unavailable(f"cannot read {self.state_file}: {error}") from None

    def write_state(self, state: State) -> None:
        """Say what is ready."""
        self.write(self.state_file, json.dumps(asdict(state)))

    def want(self, name: str) -> None:
        """Ask the keeper for a server."""
        os.close(self.open(self.path / f"want-{name}"))

    def wanted(self) -> list[str]:
        """The servers that were asked for."""
        return [name for name in NAMES if (self.path / f"want-{name}").exists()]

    def want_nothing(self) -> None:
        """Forget what was asked for; the next user asks again."""
        for name in NAMES:
            (self.path / f"want-{name}").unlink(missing_ok=True)

    def password(self) -> str:
        """The password of both servers, made at first use."""
        path = self.path / "password"
        with contextlib.suppress(FileNotFoundError):
            if known := path.read_text():
                return known
        self.write(path, secrets.token_urlsafe(24))
        return path.read_text()


def try_lock(descriptor: int, kind: int) -> bool:
    """Take a lock (fcntl.LOCK_SH or LOCK_EX) if it is free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(descriptor: int, kind: int, deadline: float) -> bool:
    """Take a lock, trying until the deadline (monotonic seconds)."""
    while not try_lock(descriptor, kind):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
