"""Messages that nobody of the platform sent, or that were sent once."""

import base64
import json
import os
from random import Random
from uuid import uuid4

import redis
from redis import Redis

from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.message import message
from taskplatform.settings import get_settings
from taskplatform.verify.faults.fault import NoTarget, Sudden
from taskplatform.verify.rig.bench import Bench


class JunkMessages(Sudden):
    """Messages that are no messages, of unknown tasks, or torn, on the platform's queue."""

    kind = "junk-messages"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Push some of each."""
        queue = get_settings().queue
        real = message(SHIFT_TASK, queue)
        junk = [
            real[: dice.randrange(20, len(real))],
            os.urandom(200),
            b"{}",
            message("os.system", queue),
            _with_body(real, [[str(uuid4())], {"x": 1}, {}]),
            _with_body(real, "not a message"),
        ]
        dice.shuffle(junk)
        _push(bench, queue, junk)
        return []


class DuplicateMessages(Sudden):
    """The same message, many times."""

    kind = "duplicate-messages"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Push one five times, and others in between."""
        queue = get_settings().queue
        pushed = [message(SHIFT_TASK, queue)] * 5 + [message(SHIFT_TASK, queue) for _ in range(5)]
        dice.shuffle(pushed)
        _push(bench, queue, pushed)
        return []


def _with_body(real: bytes, body: object) -> bytes:
    changed = json.loads(real)
    changed["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps(changed).encode()


def _push(bench: Bench, queue: str, messages: list[bytes]) -> None:
    try:
        with Redis.from_url(bench.direct.broker_url, socket_timeout=1) as client:
            client.lpush(queue, *messages)
    except redis.RedisError as error:
        raise NoTarget from error
