"""A rig: a PostgreSQL and a Valkey of its own, each behind a proxy, and all the workers on them."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from taskplatform.embedded.home import Home
from taskplatform.embedded.place import settle
from taskplatform.storage.migrations import upgrade
from taskplatform.verify.rig import remains, server
from taskplatform.verify.rig.proxy import Proxy
from taskplatform.verify.rig.server import PrivateServer
from taskplatform.verify.rig.workers import Worker, start


@dataclass
class Rig:
    """Servers, proxies and workers that may be harmed; see `rig`."""

    folder: Path
    postgres: PrivateServer
    valkey: PrivateServer
    to_postgres: Proxy
    to_valkey: Proxy
    pipelines: str = "pipelines"
    workers: list[Worker] = field(default_factory=list)

    @property
    def direct_database_url(self) -> str:
        """The database, past its proxy: for those who watch."""
        return self.postgres.url

    @property
    def direct_broker_url(self) -> str:
        """The broker, past its proxy."""
        return self.valkey.url

    @property
    def database_url(self) -> str:
        """The database, through its proxy."""
        return self.to_postgres.url(self.postgres.url)

    @property
    def broker_url(self) -> str:
        """The broker, through its proxy."""
        return self.to_valkey.url(self.valkey.url)

    @property
    def env(self) -> dict[str, str]:
        """The environment of workers and clients; by it they are found in the end."""
        return {
            "TASKPLATFORM_DATABASE_URL": self.database_url,
            "TASKPLATFORM_BROKER_URL": self.broker_url,
            "TASKPLATFORM_PIPELINES": self.pipelines,
            remains.MARK: str(self.folder),
        }

    def worker(self, name: str, *arguments: str, prefix: Sequence[str] = (), **env: str) -> Worker:
        """Start a worker on the rig; it ends with it. `prefix` is a program that executes it."""
        log = self.folder / f"{name}.log"
        log.touch()
        made = start({**self.env, **env}, log, *arguments, name=name, prefix=prefix)
        self.workers.append(made)
        return made


@contextmanager
def rig(pipelines: str = "pipelines") -> Iterator[Rig]:
    """Make a rig in a temporary folder, migrated; all of it ends with the block or this process.

    `pipelines` are the modules that its workers import.
    """
    folder = Path(tempfile.mkdtemp(prefix="taskplatform-rig-"))
    place = settle(Home(folder))
    roots = {folder, place.root}
    watches = [remains.watch(root) for root in roots]
    database = server.postgres(place, folder / "postgres.log")
    broker = server.valkey(place, folder / "valkey.log")
    to_database, to_broker = Proxy(database.port, postgres=True), Proxy(broker.port)
    made = Rig(folder, database, broker, to_database, to_broker, pipelines)
    try:
        database.start()
        broker.start()
        upgrade(made.direct_database_url)
        yield made
    finally:
        for worker in made.workers:
            worker.kill_all()
        to_database.close()
        to_broker.close()
        database.close()
        broker.close()
        for root, watch in zip(roots, watches, strict=True):
            # It sweeps what is left, even what a worker's child has started.
            watch.communicate(timeout=20)
            shutil.rmtree(root, ignore_errors=True)
