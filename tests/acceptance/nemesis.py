"""The nemesis: does to processes and servers, by a seed, what happens to them in a bad hour."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import psycopg
from redis import Redis

from tests.acceptance.processes import Worker

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name LIKE 'taskplatform%' AND datname = current_database()
ORDER BY random() LIMIT 2
"""


class Nemesis:
    """One fault after the other; `done` counts them by kind, `times` is when each began."""

    KINDS = ("kill a child", "kill a supervisor", "pause a child", "empty Redis", "cut Postgres")

    def __init__(self, workers: Sequence[Worker], env: dict[str, str], seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.times: list[int] = []
        self._workers = workers
        self._env = env
        self._random = random.Random(seed)
        self._paused: list[threading.Timer] = []

    def rage(self, seconds: float) -> None:
        """Do something every half second or so; every kind at least once."""
        until = time.monotonic() + seconds
        kinds = list(self.KINDS)
        while time.monotonic() < until or kinds:
            kind = kinds.pop() if kinds else self._random.choice(self.KINDS[:3])
            # The process may have ended by itself or by the last fault.
            with suppress(ProcessLookupError, IndexError):
                self.times.append(time.monotonic_ns())
                self._do(kind)
                self.done[kind] += 1
            time.sleep(self._random.uniform(0.2, 0.8))
        for timer in self._paused:
            timer.join()

    def _do(self, kind: str) -> None:
        worker = self._random.choice(self._workers)
        match kind:
            case "kill a child":
                os.kill(self._random.choice(worker.children()), signal.SIGKILL)
            case "kill a supervisor":
                os.kill(self._random.choice(worker.supervisors()), signal.SIGKILL)
            case "pause a child":
                self._pause(self._random.choice(worker.children()))
            case "empty Redis":
                with Redis.from_url(self._env["TASKPLATFORM_BROKER_URL"]) as redis:
                    redis.flushdb()
            case "cut Postgres":
                url = self._env["TASKPLATFORM_DATABASE_URL"]
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(CUT)

    def _pause(self, pid: int) -> None:
        fd = os.pidfd_open(pid)
        signal.pidfd_send_signal(fd, signal.SIGSTOP)

        def go_on() -> None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGCONT)
            os.close(fd)

        timer = threading.Timer(self._random.uniform(0.1, 3), go_on)
        timer.start()
        self._paused.append(timer)
