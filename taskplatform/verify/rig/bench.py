"""The bench: servers that nobody else uses, proxies before them, workers behind these."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from taskplatform.embedded import Endpoints, endpoints, erase, status
from taskplatform.storage.migrations import upgrade
from taskplatform.verify.rig import processes
from taskplatform.verify.rig.disk import Disk
from taskplatform.verify.rig.keeping import kept_up
from taskplatform.verify.rig.proxy import Proxy
from taskplatform.verify.rig.workers import Worker


@dataclass
class Bench:
    """What may be harmed. `direct` leads to the servers past the proxies."""

    folder: Path
    home: Path
    direct: Endpoints
    database: Proxy
    broker: Proxy
    env: dict[str, str]
    concurrency: int
    disk: Disk | None = None
    workers: list[Worker] = field(default_factory=list)

    def server(self, name: str) -> int:
        """The pid of a server's main process; 0 while it is down."""
        state = status(self.home)
        return 0 if state is None else state.pids.get(name, 0)

    def everyone(self) -> list[int]:
        """All processes of all workers."""
        return [pid for one in self.workers if one.alive for pid in one.everyone()]

    def hit_with(self, pids: Iterable[int]) -> list[int]:
        """These, and whose leases nobody renews if one of these cannot."""
        hit = set(pids)
        for worker in self.workers:
            if worker.alive and hit.intersection(worker.supervisors()):
                hit.update(worker.children())
        return sorted(hit)

    def server_processes(self, name: str) -> list[int]:
        """All processes of a server."""
        pid = self.server(name)
        return processes.tree(pid) if pid else []

    def wait_ready(self, seconds: float = 60.0) -> bool:
        """Wait until all workers consume again; whether they do."""
        until = time.monotonic() + seconds
        while not all(one.ready for one in self.workers):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True


@contextmanager
def bench(
    folder: Path,
    pipelines: str,
    workers: int = 2,
    concurrency: int = 4,
    env: Mapping[str, str] | None = None,
    app: str = "taskplatform",
    own_disk: bool = False,
) -> Iterator[Bench]:
    """Start everything, and stop it in the end; histories and logs go to the folder.

    With `own_disk` the servers have one that can be filled, where this user may mount one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="taskplatform-verify-"))
    made: Bench | None = None
    disk = None
    if own_disk:
        with suppress(OSError):
            disk = Disk(home)
    try:
        direct = endpoints(home)
        upgrade(direct.database_url)
        database, broker = _before(direct.database_url), _before(direct.broker_url)
        values = {
            "TASKPLATFORM_DATABASE_URL": _through(direct.database_url, database),
            "TASKPLATFORM_BROKER_URL": _through(direct.broker_url, broker),
            "TASKPLATFORM_PIPELINES": pipelines,
            **(env or {}),
        }
        made = Bench(folder, home, direct, database, broker, values, concurrency, disk)
        for number in range(workers):
            name = f"w{number + 1}"
            one = Worker(name, values, folder, ("-c", str(concurrency)), app)
            made.workers.append(one)
            one.start()
        for one in made.workers:
            one.wait_ready()
        with kept_up(made.workers, folder):
            yield made
    finally:
        if made is not None:
            for one in made.workers:
                processes.send(one.everyone() if one.alive else [], signal.SIGCONT)
            for one in made.workers:
                one.stop()
            made.database.close()
            made.broker.close()
        erase(home)
        if disk is not None:
            disk.close()
        shutil.rmtree(home, ignore_errors=True)


def _before(url: str) -> Proxy:
    parts = urlsplit(url)
    postgres = parts.scheme.startswith("postgres")
    return Proxy(parts.hostname or "127.0.0.1", parts.port or 0, postgres=postgres)


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}"))
