"""A client of the storms, in a process of its own: enqueues, cancels, retries, and writes down
what it asked for and what it was told.

A call that was not answered is unknown: it is made again under the same request id.
"""

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from taskplatform import enqueue_many, get_run, list_runs
from taskplatform.errors import Conflict, KeyBusy, TaskPlatformError, Unavailable
from taskplatform.verify.client_log import ClientLog
from tests.chaos.five import Order, fan, five
from tests.chaos.mutants import become

STEPS = ("collect", "clean", "score", "publish", "notify")
WINGS = ("left", "right")
# What the load says when all is asked for.
ENQUEUED = "enqueued"
MISHAPS = ("fail", "put-off", "give-up")


@dataclass(frozen=True)
class Load:
    """How many runs are asked for, at how many a second, for so many seconds at most.

    With `on` more are, until the nemesis has ended; with `batch` so many at a time.
    `keyed` is the share of runs that have a key, out of `groups` keys; `plain` leaves the mishaps
    and the cancels out, and then each step works for `work` seconds.
    """

    folder: str
    api: str
    seed: int
    many: int
    rate: float
    most: float
    on: bool = False
    batch: int = 1
    pipeline: str = "five"
    keyed: float = 0.05
    groups: int = 8
    plain: bool = False
    work: float = 0.0


class Client:
    """Enqueues its share, until `deadline` (monotonic) at the latest."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.seed = load.seed
        self.folder = Path(load.folder)
        self.deadline = time.monotonic() + load.most
        self.book = ClientLog(self.folder / "clients", load.pipeline)
        self.pipeline = {"five": five, "fan": fan}[load.pipeline]

    def enqueue(self, number: int) -> None:
        """Ask for one run, until somebody answers."""
        dice = random.Random(f"{self.seed}:{number}")
        order = self._order(number, dice)
        group = order.group
        told = {"request": f"{self.seed}-{number}", "key": group}
        while time.monotonic() < self.deadline:
            op = str(uuid4())
            self.book.write("invoke", op, "enqueue", **told)
            try:
                run = self.pipeline.enqueue(order, key=group, request_id=told["request"])
            except (Unavailable, KeyBusy) as error:
                self.book.write("unknown", op, "enqueue", error=str(error), **told)
                time.sleep(dice.uniform(0.05, 0.3))
                continue
            self.book.write("ok", op, "enqueue", run=str(run.id), **told)
            if not self.load.plain and dice.random() < 0.02:
                time.sleep(dice.uniform(0, 0.2))
                self._ask("cancel", run)
            return

    def enqueue_batch(self, first: int) -> None:
        """Ask for many at once, each without an id by which it could be asked for again."""
        numbers = range(first, first + self.load.batch)
        orders = [self._order(one, random.Random(f"{self.seed}:{one}")) for one in numbers]
        ops = [str(uuid4()) for _ in orders]
        for op, order in zip(ops, orders, strict=True):
            self.book.write("invoke", op, "enqueue", key=order.group)
        try:
            runs = enqueue_many(self.pipeline, orders)
        except (Unavailable, KeyBusy) as error:
            for op in ops:
                self.book.write("unknown", op, "enqueue", error=str(error))
            return
        for op, run in zip(ops, runs, strict=True):
            self.book.write("ok", op, "enqueue", run=str(run.id))

    def _order(self, number: int, dice: random.Random) -> Order:
        load = self.load
        keyed = dice.random() < load.keyed
        return Order(
            folder=str(self.folder / "ledger"),
            number=number,
            api=load.api,
            group=f"group-{dice.randrange(load.groups)}" if keyed else None,
            plan=dict.fromkeys((*STEPS, *WINGS), (load.work, "")) if load.plain else _plan(dice),
        )

    def look_after(self, done: threading.Event) -> None:
        """Retry what has failed, as a person would who has mended the cause."""
        while not done.wait(1.0) and time.monotonic() < self.deadline:
            try:
                for run in list_runs(pipeline=self.load.pipeline, status="failed", limit=50):
                    self._ask("retry", get_run(run.id))
            except Unavailable:
                continue

    def _ask(self, what: str, run: Any) -> None:
        op = str(uuid4())
        self.book.write("invoke", op, what, run=str(run.id))
        try:
            done = getattr(run, what)()
        except Unavailable as error:
            self.book.write("unknown", op, what, run=str(run.id), error=str(error))
        except (Conflict, TaskPlatformError) as error:
            self.book.write("fail", op, what, run=str(run.id), error=str(error))
        else:
            # A run that had ended before is not cancelled.
            self.book.write("fail" if done is False else "ok", op, what, run=str(run.id))


def _plan(dice: random.Random) -> dict[str, tuple[float, str]]:
    plan = {}
    for step in STEPS:
        seconds = dice.choices([0.0, 0.002, 0.03, 0.2, 0.8], [60, 20, 12, 6, 2])[0]
        mishap = dice.choice(MISHAPS) if dice.random() < 0.01 else ""
        if seconds or mishap:
            plan[step] = (seconds, mishap)
    return plan


def main(load: Load) -> None:
    """Enqueue, and meanwhile and then retry what fails, until the standard input ends."""
    client = Client(load)
    done = threading.Event()

    def enqueue(number: int) -> None:
        if load.batch > 1:
            client.enqueue_batch(number * load.batch)
        else:
            client.enqueue(number)

    with ThreadPoolExecutor(1, "keeper") as pool:
        keeper = pool.submit(client.look_after, done)
        try:
            four_enqueue(load, client.deadline, enqueue)
            # Until the storm is over somebody has to retry what failed for good.
            sys.stdin.read()
        finally:
            done.set()
    keeper.result()


def four_enqueue(load: Load, deadline: float, enqueue: Callable[[int], None]) -> None:
    """Enqueue one number after the other in four threads, as the load says.

    The first line of the standard input says that the nemesis has ended. Raises what `enqueue`
    raised: a load that asks for nothing proves nothing.
    """
    begin, numbers, lock = time.monotonic(), count(), threading.Lock()
    calm = threading.Event()
    if not load.on:
        calm.set()

    def share() -> None:
        while True:
            with lock:
                number = next(numbers)
            enough = number >= load.many and calm.is_set()
            if enough or time.monotonic() > deadline:
                return
            if (wait := begin + number / load.rate - time.monotonic()) > 0:
                time.sleep(wait)
            enqueue(number)

    with ThreadPoolExecutor(4, "client") as pool:
        shares = [pool.submit(share) for _ in range(4)]
        sys.stdin.readline()
        calm.set()
    for one in shares:
        one.result()
    print(ENQUEUED, flush=True)


if __name__ == "__main__":
    become()
    main(Load(**json.loads(sys.argv[1])))
