"""A pipeline in the middle of a user's own canvas, and faults that hit its messages.

Imported by real workers; the environment says which fault.
"""

import os
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

from celery import shared_task, signals
from kombu.transport.redis import Channel

from taskplatform import Pipeline, Retry, get_run
from tests.acceptance.ledger import Done, Order, step, write

canvased = Pipeline("canvased", input=Order, retry=Retry(delays=["100ms"] * 3))


@canvased.step
def first(input: Order) -> Done:
    """Write down the first."""
    return step(input, "first")


@canvased.step(group="pair")
def left(input: Order, first: Done) -> Done:
    """One of two at once."""
    return step(input, "left")


@canvased.step(group="pair")
def right(input: Order, first: Done) -> Done:
    """The other."""
    return step(input, "right")


@canvased.step
def unsteady(input: Order, left: Done, right: Done) -> Done:
    """Fail once."""
    once = Path(f"{input.ledger}.{input.id}.failed")
    if not once.exists():
        once.touch()
        write(input, "failed:unsteady")
        raise ValueError("not yet")
    return step(input, "unsteady")


@canvased.step
def last(input: Order, unsteady: Done) -> str:
    """Say what comes after."""
    step(input, "last")
    if input.do == "fail":
        raise ValueError("for good")
    return f"output of {input.id}"


steady = Pipeline("steady", input=Order, retry=Retry(0))


@steady.step
def one(input: Order) -> Done:
    """Write down the first."""
    return step(input, "one")


@steady.step(queue="other")
def two(input: Order, one: Done) -> Done:
    """On a queue of its own."""
    return step(input, "two")


@steady.step
def three(input: Order, two: Done) -> str:
    """Write down the third."""
    step(input, "three")
    if input.do == "fail":
        raise ValueError("for good")
    return f"output of {input.id}"


@shared_task(name="tests.before")  # type: ignore[untyped-decorator]
def before(ledger: str) -> None:
    """Write that it began."""
    write(Order(ledger=Path(ledger), id="canvas"), "before")


@shared_task(name="tests.after")  # type: ignore[untyped-decorator]
def after(output: Any, ledger: str, run_id: str) -> str:
    """Write what was given, and how the run is by now."""
    status = get_run(UUID(run_id)).status
    write(Order(ledger=Path(ledger), id=str(output).replace(" ", "-")), f"after:{status}")
    return run_id


@shared_task(name="tests.at_last")  # type: ignore[untyped-decorator]
def at_last(before: str, ledger: str) -> None:
    """Write down the end of the canvas."""
    write(Order(ledger=Path(ledger), id=before), "at-last")


if "CANVAS_TWICE" in os.environ:
    _put = Channel._put

    def _twice(self: Any, queue: str, message: dict[str, Any], **more: Any) -> None:
        task = message["headers"].get("task", "")
        for _ in range(2 if task.startswith(("canvased.", "steady.")) else 1):
            _put(self, queue, message, **more)  # type: ignore[no-untyped-call]

    Channel._put = _twice  # type: ignore[method-assign]


def _die(sender: Any = None, task_id: str = "", **_: Any) -> None:
    once = Path(os.environ["CANVAS_DIES"])
    # The signals of an attempt have an id of ours, those of a message one of Celery's.
    if ":" not in task_id and not once.exists():
        once.touch()
        os.killpg(0, signal.SIGKILL)


if "CANVAS_DIES_BEFORE" in os.environ:

    @signals.before_task_publish.connect(weak=False)  # type: ignore[untyped-decorator]
    def _before(sender: Any = None, **_: Any) -> None:
        if sender == os.environ["CANVAS_DIES_BEFORE"]:
            _die()


if "CANVAS_DIES_AFTER" in os.environ:

    @signals.task_postrun.connect(weak=False)  # type: ignore[untyped-decorator]
    def _after(sender: Any = None, task_id: str = "", **_: Any) -> None:
        if sender.name == os.environ["CANVAS_DIES_AFTER"]:
            _die(task_id=task_id)
