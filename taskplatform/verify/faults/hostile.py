"""The catalogue of hostile messages: what a stranger may put into a queue's list in Redis.

Each is one entry of the list, by a name that says what is wrong with it. None may end a worker,
execute or publish anything, or be met twice.
"""

import base64
import json
import os
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import uuid4

from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.message import message

MEGABYTE = 1024 * 1024
FAR = "9999-12-31T23:59:59+00:00"
# Nobody may register a task of this name: whoever executes it was fooled.
TRAP = "os.system"


def torn(queue: str) -> dict[str, bytes]:
    """Entries that are no message."""
    real = message(SHIFT_TASK, queue)
    broken: dict[str, bytes] = {
        "truncated": real[: len(real) // 2],
        "random bytes": os.urandom(200),
        "no JSON": b"not a message\r\n\x1b[31mERROR forged line\x00",
        "no bytes but one": b"\x80",
        "JSON null": b"null",
        "JSON number": b"1e400",
        "JSON list": b"[[], {}, {}]",
        "JSON text": b'"message"',
        "empty object": b"{}",
        "nested 100,000 deep": b"[" * 100_000,
        "nested and closed": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "unknown type": b'{"__type__": "no", "__value__": 1}',
        "wrong type": b'{"__type__": "uuid", "__value__": {"int": "x"}}',
        "decimal": b'{"__type__": "decimal", "__value__": "x"}',
        "unhashable type": b'{"__type__": [], "__value__": 1}',
        "10 MB of nothing": b"x" * (10 * MEGABYTE),
    }
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "no properties": lambda one: one.pop("properties"),
        "properties as list": lambda one: one.update(properties=[]),
        "no delivery tag": lambda one: one["properties"].pop("delivery_tag"),
        "delivery tag as list": lambda one: one["properties"].update(delivery_tag=[1]),
        "delivery tag as surrogate": lambda one: one["properties"].update(delivery_tag="\ud800"),
        "no delivery info": lambda one: one["properties"].pop("delivery_info"),
        "delivery info as text": lambda one: one["properties"].update(delivery_info="x"),
        "no routing key": lambda one: one["properties"]["delivery_info"].pop("routing_key"),
        "unknown body encoding": lambda one: one["properties"].update(body_encoding="rot13"),
        "body encoding as number": lambda one: one["properties"].update(body_encoding=1),
        "wrong base64": lambda one: one.update(body="abcde"),
        "body as list": lambda one: one.update(body=[1]),
        "headers as list": lambda one: one.update(headers=["task"]),
        "headers as text": lambda one: one.update(headers="task"),
        "content type as list": lambda one: one.update({"content-type": ["json"]}),
        "task as list": lambda one: one["headers"].update(task=["x"]),
        "task as object": lambda one: one["headers"].update(task={"x": 1}),
        "no task, no protocol": lambda one: one.update(headers={}),
        "no headers": lambda one: one.pop("headers"),
        "first protocol, task as list": lambda one: one.update(
            headers={}, body=_packed({"task": [], "id": "1", "args": [], "kwargs": {}})
        ),
    }
    return broken | {name: _changed(real, change) for name, change in changes.items()}


def forged(queue: str, task: str) -> dict[str, bytes]:
    """Messages for a task that exists, as no Celery would send them: none may be executed."""
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "body as text": lambda one: one.update(body=_packed("not a message")),
        "body as number": lambda one: one.update(body=_packed(5)),
        "body as pair": lambda one: one.update(body=_packed([[], {}])),
        "body of other types": lambda one: one.update(body=_packed([1, 2, 3])),
        "body as object": lambda one: one.update(body=_packed({"a": 1, "b": 2, "c": 3})),
        "args in a list": lambda one: one.update(body=_packed(["args", {}, {}])),
        "kwargs as list": lambda one: one.update(body=_packed({"args": [], "kwargs": []})),
        "body that is no JSON": lambda one: one.update(body=base64.b64encode(b"{").decode()),
        "no body": lambda one: one.pop("body"),
        "pickle": lambda one: one.update(
            {"content-type": "application/x-python-serialize", "body": _packed([[], {}, {}])}
        ),
        "yaml": lambda one: one.update(
            {"content-type": "application/x-yaml", "body": _packed([[], {}, {}])}
        ),
        "unknown content type": lambda one: one.update({"content-type": "no/such"}),
        "unknown compression": lambda one: one["headers"].update(compression="no/such"),
        "compression as list": lambda one: one["headers"].update(compression=["gzip"]),
        "compression that is none": lambda one: one["headers"].update(compression="gzip"),
        "zlib bomb": lambda one: one.update(body=_bomb(), headers=_with(one, compression="zlib")),
        "no id": lambda one: one["headers"].pop("id"),
        "id as list": lambda one: one["headers"].update(id=[]),
        "id with a line break": lambda one: one["headers"].update(id="x\r\nERROR forged line"),
        "shadow as object": lambda one: one["headers"].update(shadow={"a": 1}),
        "eta of no kind": lambda one: one["headers"].update(eta="soon"),
        "empty eta": lambda one: one["headers"].update(eta=""),
        "eta as list": lambda one: one["headers"].update(eta=[1]),
        "expires as object": lambda one: one["headers"].update(expires={"a": 1}),
        "empty expires": lambda one: one["headers"].update(expires=""),
        "time limits of no kind": lambda one: one["headers"].update(timelimit="x"),
        "three time limits": lambda one: one["headers"].update(timelimit=[1, 2, 3]),
        "time limit of no number": lambda one: one["headers"].update(timelimit=["1", float("nan")]),
        "stamps of no kind": lambda one: one["headers"].update(stamped_headers=[[1]], stamps=[]),
    }
    real = message(task, queue)
    return {name: _changed(real, change) for name, change in changes.items()}


def unknown(queue: str) -> dict[str, bytes]:
    """Messages for tasks that nobody has registered."""
    names = {
        "os.system": TRAP,
        "dotted path": "subprocess.run",
        "dunder": "__class__.__init__",
        "empty name": "",
        "line breaks": "x\r\nERROR forged line\x1b[31m",
        "long name": "x" * MEGABYTE,
    }
    made = {name: message(task, queue) for name, task in names.items()}
    made["unknown, no id"] = _changed(made["os.system"], lambda one: one["headers"].pop("id"))
    made["unknown, 10 MB"] = _changed(
        made["os.system"], lambda one: one.update(body=_packed(["x" * (7 * MEGABYTE), {}, {}]))
    )
    return made


def shifts(queue: str, trap: str = TRAP, *args: str) -> dict[str, bytes]:
    """Messages that open a shift, with more in them: it opens, and nothing else happens.

    `trap` is a task that must not be executed, `args` are what it would be given.
    """
    call = {"task": trap, "args": args, "kwargs": {}, "options": {}, "immutable": True}
    embed = {"callbacks": [call], "errbacks": [call], "chain": [call], "chord": call}
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "callbacks": lambda one: one.update(body=_packed([[], {}, embed])),
        "arguments": lambda one: one.update(body=_packed([["true"], {"x": 1}, {}])),
        "all in the headers": lambda one: one["headers"].update(
            embed, group="g", group_index=0, ignore_result=False, replaced_task_nesting=9
        ),
        "first protocol": lambda one: one.update(
            headers={},
            body=_packed(
                {"task": SHIFT_TASK, "id": str(uuid4()), "args": ["x"], "kwargs": {"y": 1}, **embed}
            ),
        ),
        "eta far away": lambda one: one["headers"].update(eta=FAR),
        "expired": lambda one: one["headers"].update(expires="1970-01-01T00:00:00+00:00"),
        "a moment's time limit": lambda one: one["headers"].update(timelimit=[0.001, 0.001]),
        "reply to": lambda one: one["properties"].update(reply_to="amq.gen-x"),
        "other names": lambda one: one["headers"].update(
            shadow="x\r\nERROR forged line", root_id=[1], parent_id={}, id=["x"], retries="many"
        ),
        "10 MB of arguments": lambda one: one.update(body=_packed([["x" * 7 * MEGABYTE], {}, {}])),
        "pickle": lambda one: one.update({"content-type": "application/x-python-serialize"}),
    }
    real = message(SHIFT_TASK, queue)
    return {f"shift: {name}": _changed(real, change) for name, change in changes.items()}


def steps(queue: str, step: str, trap: str = TRAP, *args: str, **others: str) -> dict[str, bytes]:
    """Messages of a canvas for runs that they may not touch; `others`: ids of such runs.

    What they say follows the run, `trap` with `args`, must not be executed.
    """
    call = {"task": trap, "args": args, "kwargs": {}, "options": {}, "immutable": True}
    embed = {"callbacks": [call], "errbacks": [call], "chain": [call], "chord": None}
    ids: dict[str, Any] = {
        "no run": str(uuid4()),
        "no uuid": "x\r\nERROR forged line",
        "a number": 5,
        "null": None,
        "a list": ["x"],
        "an object": {"__class__": "x", "__proto__": {"constructor": 1}},
        "a path": "../../etc/passwd",
        "1 MB": "x" * MEGABYTE,
    }
    return {f"step: {name}": canvas(queue, step, id, embed) for name, id in (ids | others).items()}


def canvas(queue: str, step: str, run_id: Any, embed: Any = None) -> bytes:
    """A message that asks for a step of a run, as a canvas sends it."""
    return _changed(
        message(step, queue),
        lambda one: one.update(body=_packed([[], {"run_id": run_id}, embed or {}])),
    )


def junk(queue: str, task: str = SHIFT_TASK) -> dict[str, bytes]:
    """All of it that needs no run, by name."""
    return torn(queue) | forged(queue, task) | unknown(queue) | shifts(queue)


def broadcasts() -> dict[str, bytes]:
    """What may be published to the channels of remote control and of events."""
    real = message(SHIFT_TASK, "celery")
    commands: dict[str, Any] = {
        "control: text": "x",
        "control: list": [1],
        "control: no method": {},
        "control: unknown": {"method": "os.system", "arguments": {"x": 1}},
        "control: dunder": {"method": "__class__", "arguments": {}},
        "control: wrong arguments": {"method": "pool_shrink", "arguments": {"x": "y"}},
        "control: more": {"method": "ping", "arguments": {}, "other": 1},
        "control: reply to": {"method": "ping", "arguments": {}, "reply_to": "x", "ticket": []},
    }
    return torn("celery") | {name: _with_body(real, body) for name, body in commands.items()}


def _with_body(real: bytes, body: Any) -> bytes:
    return _changed(real, lambda one: one.update(headers={}, body=_packed(body)))


def _with(one: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**one["headers"], **more}


def _packed(body: Any) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


@cache
def _bomb() -> str:
    """400 kB that unpack to 400 MB."""
    packer = zlib.compressobj(9)
    zeros = bytes(MEGABYTE)
    packed = b"".join(packer.compress(zeros) for _ in range(400)) + packer.flush()
    return base64.b64encode(packed).decode()


def _changed(real: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    one = json.loads(real)
    change(one)
    return json.dumps(one).encode()
