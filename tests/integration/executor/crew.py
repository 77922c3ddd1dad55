"""The seats of one process over a house, without a pool and a broker around them."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from time import monotonic

from taskplatform.core.ids import uuid7
from taskplatform.executor.crowd import Crowd
from taskplatform.executor.desk import Desk, Seated
from taskplatform.executor.hands import Hands
from taskplatform.supervisor.session import Database
from taskplatform.supervisor.watch import Watch
from tests.integration.executor.house import House


class Crew:
    """One desk, and the supervisor's eye on its bodies."""

    def __init__(self, house: House, seats: int) -> None:
        self.house = house
        self.desk = Desk(
            seats,
            url=house.stage.url,
            worker=uuid7(),
            worker_name="w",
            table=house.table,
            default_queue="default",
            put_off_limit=60.0,
        )
        self.hands = Hands("hands")
        self._database = Database(house.stage.url, "supervisor")
        self.watch = Watch(getpid(), house.table, self._database, house.rescuer)

    def claim(self) -> list[Seated]:
        """Claim for every seat that is free."""
        desk = self.desk
        return desk.claim_for(desk.most - desk.taken, ["default"])[0]

    @contextmanager
    def crowd(self) -> Iterator[Crowd]:
        """Execute what is seated in there until no seat is taken."""
        with Crowd(self.desk, self.house.rung.append, self.hands) as crowd:
            yield crowd

    def work(self, branches: int) -> None:
        """Claim as seats get free, until so many branches were claimed, and execute them."""
        until = monotonic() + 60
        with self.crowd() as crowd:
            while branches > 0:
                assert monotonic() < until
                with self.desk.changed:
                    self.desk.changed.wait_for(lambda: self.desk.taken < self.desk.most, 5)
                claimed = self.claim()
                branches -= len(claimed)
                crowd.seat(claimed)

    def close(self) -> None:
        self.desk.close()
        if self._database._connection is not None:
            self._database._connection.close()
