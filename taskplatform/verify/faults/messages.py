"""Messages that nobody of the platform sent, or that were sent once."""

from random import Random

import redis
from redis import Redis

from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.message import message
from taskplatform.settings import get_settings
from taskplatform.verify.faults import hostile
from taskplatform.verify.faults.fault import NoTarget, Sudden
from taskplatform.verify.rig.bench import Bench

_SOME = 12


class JunkMessages(Sudden):
    """Messages that are no messages, of unknown tasks, or torn, on the platform's queue."""

    kind = "junk-messages"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Push some of the catalogue."""
        queue = get_settings().queue
        catalogue = hostile.junk(queue)
        junk = [catalogue[name] for name in dice.sample(sorted(catalogue), _SOME)]
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


def _push(bench: Bench, queue: str, messages: list[bytes]) -> None:
    try:
        with Redis.from_url(bench.direct.broker_url, socket_timeout=1) as client:
            client.lpush(queue, *messages)
    except redis.RedisError as error:
        raise NoTarget from error
