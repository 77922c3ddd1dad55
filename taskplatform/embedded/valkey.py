"""The embedded Valkey, with an append-only file and no eviction."""

import logging
import shutil
import signal
import socket
from functools import cached_property
from pathlib import Path

from taskplatform.embedded.home import BROKER
from taskplatform.embedded.place import Place
from taskplatform.embedded.server import HOST
from taskplatform.embedded.software import copy_valkey, valkey_binaries

log = logging.getLogger(__name__)

DATABASES = 64
_UNREADABLE = "Bad file format reading the append only file"


class Valkey:
    """How to make, start and recognise it."""

    name = BROKER
    program = "valkey-server"
    stop_signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 20.0),)

    def __init__(self, place: Place, password: str) -> None:
        self.place = place
        self.data = place.root / "valkey"
        self._password = password

    @cached_property
    def _binaries(self) -> Path:
        return self.place.runs(valkey_binaries(), copy_valkey)

    def prepare(self) -> None:
        """Make the folder and the settings; the password is not for the command line."""
        self.place.folder(self.data.name)
        self.place.write(
            "valkey.conf",
            f"bind {HOST}\n"
            f"requirepass {self._password}\n"
            f"databases {DATABASES}\n"
            'appendonly yes\nsave ""\nmaxmemory-policy noeviction\n'
            # Keeps the command line as it is, by which a later keeper recognises it.
            "set-proc-title no\n",
        )

    def command(self, port: int) -> list[str]:
        """The server's command line."""
        program = str(self._binaries / "valkey-server")
        settings = str(self.place.root / "valkey.conf")
        return [program, settings, "--dir", str(self.data), "--port", str(port)]

    def ready(self, port: int, pid: int) -> bool:  # noqa: ARG002
        """Whether it answers, its data loaded."""
        try:
            with socket.create_connection((HOST, port), timeout=0.5) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\n") < 2 and (part := connection.recv(200)):
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def url(self, port: int) -> str:
        """For redis-py and kombu."""
        return f"redis://:{self._password}@{HOST}:{port}/0"

    def mend(self, said: str) -> None:
        """Set a file aside that cannot be read: it held messages, which come again.

        A disk that was full when the server was killed leaves one, and no start would get past it.
        """
        if _UNREADABLE not in said:
            return
        aside = self.data.with_name("valkey.unreadable")
        shutil.rmtree(aside, ignore_errors=True)
        self.data.rename(aside)
        log.warning("%s cannot be read, and lies in %s now: it starts empty", self.name, aside)
