"""The project's tasks and, new among them, a pipeline."""

import os
import time
from pathlib import Path

from celery import shared_task

from taskplatform import Pipeline, Retry
from tests.acceptance.ledger import Done, Order, write


@shared_task(name="shop.add", rate_limit="100/s")  # type: ignore[untyped-decorator]
def add(one: int, other: int) -> int:
    """Add, with a result in the project's own backend."""
    return one + other


@shared_task(name="shop.send_mail", rate_limit="100/s")  # type: ignore[untyped-decorator]
def send_mail() -> str:
    """Say which queue the message came by."""
    from celery import current_task  # noqa: PLC0415

    return str(current_task.request.delivery_info["routing_key"])


@shared_task(name="shop.tick", rate_limit="100/s")  # type: ignore[untyped-decorator]
def tick() -> None:
    """Write down that beat is alive."""
    write(Order(ledger=Path(os.environ["SHOP_LEDGER"]), id="beat"), "tick")


parcel = Pipeline("parcel", input=Order, retry=Retry(0), timeout="30s")


@parcel.step
def pack(input: Order) -> Done:
    """On the platform's queue, for longer than the project lets its own tasks take."""
    write(input, "start:pack")
    time.sleep(input.seconds)
    write(input, "end:pack")
    return Done(pid=os.getpid())


@parcel.step(queue="couriers")
def ship(input: Order, pack: Done) -> Done:
    """On a queue that only the pipeline names."""
    write(input, "start:ship")
    return Done(pid=os.getpid())


stubborn = Pipeline("stubborn", input=Order, retry=Retry(0), timeout="1s")


@stubborn.step
def resist(input: Order) -> None:
    """Ignore the attempt's limit, so that only the supervisor can end it."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            time.sleep(0.1)
        except Exception:
            continue
