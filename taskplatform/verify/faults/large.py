"""Messages that are larger than any that the platform sends."""

from random import Random

import redis
from redis import Redis

from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.message import message
from taskplatform.settings import get_settings
from taskplatform.verify.faults.fault import NoTarget, Sudden
from taskplatform.verify.rig.bench import Bench

_TEN_MB = 10 * 1024 * 1024


class LargeMessages(Sudden):
    """Messages of ten megabytes: of no task that there is, and a shift's with all that after it."""

    kind = "large-messages"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Push one of each."""
        queue = get_settings().queue
        large = [message("x" * _TEN_MB, queue), message(SHIFT_TASK, queue) + b" " * _TEN_MB]
        dice.shuffle(large)
        try:
            with Redis.from_url(bench.direct.broker_url, socket_timeout=5) as client:
                client.lpush(queue, *large)
        except redis.RedisError as error:
            raise NoTarget from error
        return []
