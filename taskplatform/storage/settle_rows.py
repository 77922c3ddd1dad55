"""Settlements as the rows that the statements of settle read."""

import math
from collections.abc import Sequence
from typing import Any

import orjson

from taskplatform.core.disposition import InLine
from taskplatform.storage.settlement import (
    Attempt,
    End,
    ForkGroup,
    ForkMap,
    Handler,
    NewChild,
    NewWait,
    PutBack,
    Result,
    Settlement,
)

Row = dict[str, Any]

# What refuses work that was claimed, before its body.
_HELD_BACK = ("throttle", "concurrency", "breaker", "paused")


def row(one: Settlement, **values: Any) -> Row:
    """What finds the work, under its epoch, and something to write."""
    return {"work_id": one.work_id, "epoch": one.epoch, **values}


def result(one: Settlement, made: Result) -> Row:
    """A step's output."""
    made_row: Row = {
        "work_id": one.work_id,
        "epoch": one.epoch,
        "step": made.step,
        "version": made.version,
        "attempt": made.attempt,
        "output": orjson.Fragment(made.output),
        "started_ago": made.started_ago,
        "finished_ago": made.finished_ago,
    }
    # Most steps log nothing, and a key that is not there is a NULL.
    if made.log is not None:
        made_row["log"] = made.log
    return made_row


def item(one: Settlement, made: Result) -> Row:
    """The output of an item of a map."""
    return {**result(one, made), "position": made.position, "failed": made.failed}


def attempt(one: Settlement, made: Attempt) -> Row:
    """An attempt without an output."""
    return row(
        one,
        step=made.step,
        outcome=made.outcome,
        error=_fragment(made.error),
        number=made.number,
        alone=made.alone,
        started_ago=made.started_ago,
        finished_ago=made.finished_ago,
        log=made.log,
    )


def waiting(one: Settlement, then: PutBack) -> Row:
    """A run that waits, or is ready."""
    return row(
        one,
        delay=_delay(then.delay),
        reason=then.reason,
        waiting_for=then.waiting_for,
        run_error=_fragment(then.run_error),
        started_ago=_started_ago(one),
        held=then.rest == "canvas",
        refused=one.attempt is None and then.reason in _HELD_BACK,
    )


def put_back(one: Settlement, then: PutBack) -> Row:
    """Work that somebody else goes on with."""
    return row(
        one,
        step=then.step,
        queue=then.queue,
        delay=_delay(then.delay),
        failures=then.failures,
        put_off=then.put_off,
        tried=then.tried,
        alone=then.alone,
        reason=then.reason,
        waiting_for=then.waiting_for,
        rest=then.rest,
        failing=then.failing,
        done=then.progress[0],
        total=then.progress[1],
        **_line(then.line),
    )


def _line(line: InLine | None) -> Row:
    if line is None:
        return {}
    return {"gate": line.gate, "gate_weight": line.weight, "gate_share": line.share}


def ended(one: Settlement, then: End) -> Row:
    """A run that has ended."""
    return row(
        one,
        status=then.status,
        output_step=then.output_step,
        error=_fragment(then.error),
        started_ago=started_ago(one, then),
    )


def started_ago(one: Settlement, then: End) -> float | None:
    """How long ago the run that ends has started."""
    return _started_ago(one) if then.started_ago is None else then.started_ago


def failed(one: Settlement, error: bytes) -> Row:
    """A branch that makes its run fail."""
    return row(one, run_error=_fragment(error))


def handler(one: Settlement, made: Handler) -> Row:
    """A run of an event handler."""
    return row(
        one,
        id=made.id,
        pipeline=made.pipeline,
        step=made.step,
        queue=made.queue,
        input=orjson.Fragment(made.input),
    )


def group(one: Settlement, fork: ForkGroup) -> Row:
    """The members of a group."""
    return row(one, members=[{"step": step, "queue": queue} for step, queue in fork.members])


def mapped(one: Settlement, fork: ForkMap) -> Row:
    """A map and its items."""
    return row(
        one,
        step=fork.step,
        queue=fork.queue,
        version=fork.version,
        width=fork.window,
        items=orjson.Fragment(fork.items),
    )


def wait(one: Settlement, new: NewWait) -> Row:
    """A wait for an event."""
    return row(
        one,
        step=new.step,
        event=new.event,
        field=new.field,
        value=new.value,
        timeout=new.timeout,
        passed=None if new.passed is None else str(new.passed),
    )


def child(one: Settlement, new: NewChild) -> Row:
    """A run that is waited for."""
    return row(
        one,
        id=new.id,
        parent_step=new.parent_step,
        pipeline=new.pipeline,
        step=new.step,
        queue=new.queue,
        input=orjson.Fragment(new.input),
        key=new.key,
        owner=new.owner,
        priority=new.priority,
        ageing=new.ageing,
        fair_key=new.fair_key,
        run_timeout=new.run_timeout,
        queue_timeout=new.queue_timeout,
    )


def encode(rows: Sequence[Row]) -> str:
    """The rows as one parameter."""
    return orjson.dumps(rows).decode()


def _started_ago(one: Settlement) -> float | None:
    made = one.result or one.attempt
    return made.started_ago if made else None


def _delay(seconds: float | None) -> float | str | None:
    # JSON has no infinity; PostgreSQL reads the word.
    return "infinity" if seconds is not None and math.isinf(seconds) else seconds


def _fragment(value: bytes | None) -> orjson.Fragment | None:
    return None if value is None else orjson.Fragment(value)
