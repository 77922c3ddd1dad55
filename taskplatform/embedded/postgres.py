"""The embedded PostgreSQL: durable as any (fsync and synchronous_commit stay on)."""

import contextlib
import os
import shutil
import signal
import subprocess
from functools import cached_property
from pathlib import Path

from taskplatform.embedded.home import DATABASE
from taskplatform.embedded.place import Place
from taskplatform.embedded.processes import find
from taskplatform.embedded.server import HOST, environment
from taskplatform.embedded.software import copy_postgres, postgres_binaries
from taskplatform.errors import Unavailable

ROLE = "taskplatform"
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class Postgres:
    """How to make, start and recognise it."""

    name = DATABASE
    program = "postgres"
    # Fast: sessions end, data are flushed. Then immediate: recovery at the next start.
    stop_signals: tuple[tuple[signal.Signals, float], ...] = (
        (signal.SIGINT, 60.0),
        (signal.SIGQUIT, 10.0),
    )

    def __init__(self, place: Place, password: str) -> None:
        self.place = place
        self.data = place.root / "postgres"
        self._password = password

    @cached_property
    def _binaries(self) -> Path:
        return self.place.runs(postgres_binaries(), copy_postgres)

    def prepare(self) -> None:
        """Make the cluster and its database; forget a pid that is some other process's now."""
        if not self.data.exists():
            self._create()
        lock = self.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            pid = int(lock.read_text().splitlines()[0])
            # A pid may be in use again, in a restarted container above all, and PostgreSQL
            # would refuse to start. A dead one is left to it, as it knows its shared memory.
            if Path(f"/proc/{pid}").exists() and not find(self.program, str(self.data)):
                lock.unlink()

    def command(self, port: int) -> list[str]:
        """The postmaster's command line."""
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        return [str(self._binaries / "postgres"), "-D", str(self.data), *settings, "-p", str(port)]

    def ready(self, port: int, pid: int) -> bool:
        """As pg_ctl knows it: by the lines of the pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and (lines[0], lines[3], lines[7].strip()) == (
            str(pid),
            str(port),
            "ready",
        )

    def url(self, port: int) -> str:
        """For libpq and SQLAlchemy."""
        return f"postgresql://{ROLE}:{self._password}@{HOST}:{port}/{ROLE}"

    def mend(self, said: str) -> None:
        """Nothing: its data are the truth, and a person's to look at."""

    def _create(self) -> None:
        # Under another name until it is whole: a start that is killed leaves no half cluster.
        shutil.rmtree(self.place.root / "postgres.new", ignore_errors=True)
        new = self.place.folder("postgres.new")
        password = self.place.write("postgres.password", self._password)
        try:
            self._run(
                "initdb", "-D", str(new), "-U", ROLE, "--auth=scram-sha-256", "--encoding=UTF8",
                "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
                f"--pwfile={password}", "--no-instructions",
                # The password is random and long; making it slow to try would only make
                # connecting slow.
                "-c", "scram_iterations=1",
            )  # fmt: skip
            self._run(
                "postgres", "--single", "-D", str(new), "postgres", text=f"CREATE DATABASE {ROLE}\n"
            )
        finally:
            password.unlink()
        new.rename(self.data)

    def _run(self, program: str, *arguments: str, text: str = "") -> None:
        user = self.place.user
        try:
            subprocess.run(
                [self._binaries / program, *arguments],
                input=text,
                capture_output=True,
                text=True,
                check=True,
                timeout=60.0,
                cwd=self.place.root,
                env=environment(),
                umask=0o077,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=[] if user else None,
            )
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout).strip()
            raise Unavailable(f"{program} failed{os.linesep}{said}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{program} failed: {error}") from None
