"""Clients, children and a supervisor over a database that loses calls, in turns."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from taskplatform.client.events import send_event
from taskplatform.client.pipeline import Pipeline
from taskplatform.client.run import Run
from taskplatform.core.ids import uuid7
from taskplatform.errors import Conflict, Unavailable
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.executor.slots import SlotTable
from taskplatform.storage import clock
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.leases import renew
from taskplatform.supervisor.rescue import Loss, Rescuer, lost_holders
from taskplatform.supervisor.session import Database
from tests.integration.models import lossy
from tests.integration.models.load import Order
from tests.integration.races.stage import Stage

RUNS = 300
QUEUE = "taskplatform"


class Storm:
    """Clients, three children and a supervisor, in turns that a seed decides."""

    def __init__(
        self, stage: Stage, pipeline: Pipeline[Order], fate: lossy.Fate, seed: int
    ) -> None:
        self.stage, self.pipeline, self.fate = stage, pipeline, fate
        self.random = random.Random(seed)
        self.now = 0.0
        self.table = SlotTable.create()
        self.children = [self.child() for _ in range(3)]
        self.database = Database(stage.url, "storm")
        self.rescuer = Rescuer("storm", QUEUE, 60.0)
        self.acknowledged: dict[str, UUID] = {}
        self.asked: dict[str, Order] = {}
        self.replayed: set[UUID] = set()
        self.cancelled: set[UUID] = set()
        self.refused: Counter[str] = Counter()
        self.rescued = 0

    def child(self) -> Child:
        child = Child(
            url=self.stage.url,
            worker=uuid7(),
            worker_name="storm",
            table=self.table,
            default_queue=QUEUE,
            put_off_limit=60.0,
        )
        names = [step.task_name for step in self.pipeline.steps]
        child.costs.known.update(dict.fromkeys(names, 0.0005))
        return child

    def blow(self) -> None:
        """All runs are asked for, and everything goes on meanwhile."""
        acts = [*[self.shift] * 6, *[self.supervise] * 3, *[self.ask] * 3, self.die]
        for number in range(RUNS):
            self.enqueue(f"r{number}", str(number))
            for _ in range(3):
                self.random.choice(acts)()

    def calm(self) -> None:
        """No call is lost any more: whatever is left goes on by itself."""
        self.fate.rate = 0.0
        for request, order in self.asked.items():
            self.enqueue(request, order.number)
        for _ in range(40):
            for number in range(RUNS):
                if self.stage.value(_WAITS, str(number)):
                    send_event("shipped", {"number": str(number)})
            for (parked,) in self.stage.rows(_PARKED):
                Run[Any](parked, "load").retry()
            self.now += 20.0
            clock.advance(self.stage.connection, 60.0)
            self.supervise()
            while sum(self.shift() for _ in self.children):
                continue
            if not self.stage.value("SELECT 1 FROM taskplatform.runs WHERE finished_at IS NULL"):
                return
        left = self.stage.rows("SELECT row_to_json(w)::text FROM taskplatform.work w")
        raise AssertionError(f"what has not ended: {left}")

    def attempted(self, act: Callable[[], Any]) -> Any:
        """The answer, or None if nobody knows: then it may have happened or not."""
        try:
            return act()
        except (Unavailable, Conflict) as error:
            self.refused[type(error).__name__] += 1
            return None

    def enqueue(self, request: str, number: str) -> None:
        key = f"k{number}" if int(number) % 3 == 0 else None
        order = Order(number=number, key=key, bad=int(number) % 5 // 3 * (1 + int(number) % 2))
        self.asked[request] = order
        run = self.attempted(lambda: self.pipeline.enqueue(order, request_id=request))
        if run is not None:
            known = self.acknowledged.setdefault(request, run.id)
            assert known == run.id, f"two runs for request {request}"

    def ask(self) -> None:
        """A person or another service asks for something about a run that is known."""
        if not self.acknowledged:
            return
        request = self.random.choice(sorted(self.acknowledged))
        run: Run[Any] = Run(self.acknowledged[request], "load")
        match self.random.choice(["again", "cancel", "retry", "replay", "send", "send", "send"]):
            case "again":
                self.enqueue(request, self.asked[request].number)
            case "cancel":
                if self.attempted(run.cancel):
                    self.cancelled.add(run.id)
            case "retry":
                self.attempted(run.retry)
            case "replay":
                new = self.attempted(run.replay)
                if new is not None:
                    self.replayed.add(new.id)
            case _:
                number = self.stage.value(
                    "SELECT input ->> 'number' FROM taskplatform.runs WHERE id = %s", run.id
                )
                self.attempted(lambda: send_event("shipped", {"number": number}))

    def shift(self) -> int:
        """One child claims and executes; how many branches."""
        child = self.random.choice(self.children)
        try:
            claimed, _ = child.claim([QUEUE])
        except Unavailable:
            return 0
        child.remember(claimed)
        Batch(child, lambda _: None).execute(claimed)
        return len(claimed)

    def die(self) -> None:
        """A child claims and is gone; its lease runs out."""
        place = self.random.randrange(len(self.children))
        child = self.children[place]
        self.attempted(lambda: child.claim([QUEUE]))
        self.stage.connection.execute(
            "UPDATE taskplatform.holders SET lease_until = '-infinity' WHERE worker = %s",
            (child.worker,),
        )
        child.close()
        self.children[place] = self.child()

    def supervise(self) -> None:
        """The duties, a second after the last time."""
        self.now += 1.0
        holders = [child.slot.holder for child in self.children if child.slot.holder]
        self.database.ask(lambda connection: renew(connection, holders), None)
        self.database.ask(release_due, None)
        if self.now < self.database.reap_from:
            return
        for loss in self.database.ask(lost_holders, ()):
            self.rescued += self.database.ask(partial(self.rescue, loss=loss), 0)

    def rescue(self, connection: Session, loss: Loss) -> int:
        self.rescuer.rescue(connection, loss)
        return 1

    def close(self) -> None:
        for child in self.children:
            child.close()
        self.database.ask(lambda connection: connection.close(), None)


_PARKED = "SELECT id FROM taskplatform.runs WHERE reason = 'parked'"
_WAITS = """
SELECT 1 FROM taskplatform.runs
WHERE status = 'waiting' AND reason = 'event' AND input ->> 'number' = %s LIMIT 1
"""
