"""PostgreSQL and Redis as the system's packages have them, for tests of configured servers."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis, RedisError

from tests.acceptance.processes import wait_for
from tests.system_programs import postgres_programs, system_program


@contextmanager
def postgres() -> Iterator[str]:
    """A cluster of the system's PostgreSQL; yields its URL."""
    bin = postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="system-postgres-"))
    # It refuses to run as root.
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()
    try:
        _run(bin / "initdb", "-D", data, "-U", "postgres", "--auth=trust", user=user)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        log = folder / "log"
        _run(bin / "pg_ctl", "-D", data, "-o", options, "-l", log, "-w", "start", user=user)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            _run(bin / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop", user=user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis(*options: str, program: Path | None = None) -> Iterator[str]:
    """A redis-server of the system, or another program like it; yields its URL."""
    program = program or system_program("redis-server")
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options],
        stdout=subprocess.DEVNULL,
    )
    try:
        with Redis(port=port) as client:
            wait_for(lambda: _answers(client), 10, "redis answers")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _run(*command: object, user: str) -> None:
    mine = pwd.getpwuid(os.getuid()).pw_name == user
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
        user=None if mine else user,
    )


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
