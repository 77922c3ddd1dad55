"""The doorbell: one ring wakes one process.

A shift that has run out of work lingers: it says so in a sorted set and waits on a list of its
own. A ring takes one lingering shift off the set and wakes it; if there is none, it puts one
Celery message that opens a shift on the queue. All of it is a hint that may be lost, doubled or
stale: claims decide, and whoever is not rung looks by itself after a quarter of a second.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from time import monotonic

import redis
from redis import Redis

from taskplatform.celery.address import Address, address_of, redis_url
from taskplatform.celery.installed import installed
from taskplatform.celery.message import message
from taskplatform.endpoints import broker_url
from taskplatform.errors import Unavailable

SHIFT_TASK = "taskplatform.shift"
# More messages than this on one queue would only open shifts that find nothing.
MOST_MESSAGES = 32
SLICE = 0.1

# KEYS: lingering set, Celery's queue. ARGV: rings wanted, most messages, prefix of the listeners'
# own lists, messages. Whoever is rung is taken off the set: the next ring is for somebody else.
_RING = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local wanted = tonumber(ARGV[1])
while wanted > 0 do
    local listener = redis.call('ZPOPMAX', KEYS[1])[1]
    if not listener then break end
    redis.call('LPUSH', ARGV[3] .. listener, '1')
    redis.call('PEXPIRE', ARGV[3] .. listener, 2000)
    wanted = wanted - 1
end
local room = tonumber(ARGV[2]) - redis.call('LLEN', KEYS[2])
for number = 4, #ARGV do
    if wanted < 1 or room < 1 then break end
    redis.call('LPUSH', KEYS[2], ARGV[number])
    wanted = wanted - 1
    room = room - 1
end
"""

# KEYS: the listener's own list, lingering sets. ARGV: the listener, seconds.
_LINGER = """
local time = redis.call('TIME')
local ends = tonumber(time[1]) + tonumber(time[2]) / 1000000 + tonumber(ARGV[2])
redis.call('DEL', KEYS[1])
for number = 2, #KEYS do
    redis.call('ZADD', KEYS[number], ends, ARGV[1])
    redis.call('PEXPIRE', KEYS[number], 5000)
end
"""


# KEYS: the guard, queues. ARGV: how long the guard is kept, messages.
_ONCE = """
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
    for number = 2, #KEYS do redis.call('LPUSH', KEYS[number], ARGV[number]) end
end
"""
_GUARD_SECONDS = 7 * 86400


class Bell:
    """Rings, and listens, on one Redis."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._redis = Redis.from_url(
            address.url,
            socket_timeout=2,
            socket_connect_timeout=1,
            socket_keepalive=True,
            **address.tls,
        )
        self._ring = self._redis.register_script(_RING)
        self._linger = self._redis.register_script(_LINGER)
        self._once = self._redis.register_script(_ONCE)

    def ring(self, queues: Mapping[str, int], most: int = MOST_MESSAGES) -> None:
        """Wake up to so many processes for each queue. Raises Unavailable."""
        try:
            for queue, wanted in queues.items():
                wanted = min(wanted, most)
                messages = [message(SHIFT_TASK, queue) for _ in range(wanted)]
                keys = [self._key("lingering", queue), self._list(queue)]
                self._ring(keys=keys, args=[wanted, most, self._key("bell", ""), *messages])
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error

    def publish_once(self, guard: str, messages: Sequence[tuple[str, str]]) -> None:
        """Put (list, message) on Redis, unless that was done under this guard within a week.

        Raises Unavailable.
        """
        keys = [self._key("once", guard), *(f"{self._address.prefix}{one}" for one, _ in messages)]
        try:
            self._once(keys=keys, args=[_GUARD_SECONDS, *(message for _, message in messages)])
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error

    def listen(
        self, queues: Sequence[str], seconds: float, listener: str
    ) -> Generator[bool, None, None]:
        """Linger: yield True when rung, False now and then so that the caller can look around.

        Raises Unavailable.
        """
        lingering = [self._key("lingering", queue) for queue in queues]
        own = self._key("bell", listener)
        ends = monotonic() + seconds
        left_by_ring = False
        try:
            self._linger(keys=[own, *lingering], args=[listener, seconds + SLICE])
            # What was enqueued a moment ago rang when nobody was listening yet.
            yield False
            while (left := ends - monotonic()) > 0:
                rung = self._redis.blpop([own], timeout=max(0.01, min(SLICE, left)))
                left_by_ring = rung is not None and len(queues) == 1
                yield rung is not None
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error
        finally:
            if not left_by_ring:
                self._leave(lingering, listener)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _leave(self, lingering: list[str], listener: str) -> None:
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key in lingering:
                    pipe.zrem(key, listener)
                pipe.execute()
        except redis.RedisError:
            # The entry expires by itself.
            self._redis.close()

    def _key(self, what: str, queue: str) -> str:
        return f"{self._address.prefix}taskplatform:{what}:{queue}"

    def _list(self, queue: str) -> str:
        return f"{self._address.prefix}{queue}{self._address.suffix}"


def ring(queues: Mapping[str, int]) -> None:
    """Ring from a process that is no worker. Raises Unavailable."""
    app = installed()
    bell(Address(redis_url(broker_url())) if app is None else address_of(app)).ring(queues)


_bells: dict[tuple[int, str, str], Bell] = {}


def bell(address: Address) -> Bell:
    """The bell of this process; a forked child gets its own."""
    key = (os.getpid(), address.url, address.prefix)
    if key not in _bells:
        _bells.clear()
        _bells[key] = Bell(address)
    return _bells[key]


def forget() -> None:
    """Close the bells of this process; the next ring connects anew."""
    for one in _bells.values():
        one.close()
    _bells.clear()
