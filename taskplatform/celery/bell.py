"""The doorbell: one ring wakes one process.

A shift that has run out of work lingers: it says so in a sorted set and waits on a list. A ring
gives a token to a lingering shift if there is one without, and otherwise puts one Celery message
that opens a shift on the queue. All of it is a hint that may be lost, doubled or stale: claims
decide, and whoever is not rung looks by itself after a quarter of a second.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from time import monotonic
from urllib.parse import parse_qs, urlsplit

import redis
from redis import Redis

from taskplatform.celery.message import message
from taskplatform.endpoints import broker_url
from taskplatform.errors import SettingsError, Unavailable

SHIFT_TASK = "taskplatform.shift"
# More messages than this on one queue would only open shifts that find nothing.
MOST_MESSAGES = 32
SLICE = 0.1

# KEYS: lingering set, tokens, Celery's queue. ARGV: rings wanted, most messages, messages.
_RING = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local listening = redis.call('ZCARD', KEYS[1]) - redis.call('LLEN', KEYS[2])
local wanted = tonumber(ARGV[1])
while wanted > 0 and listening > 0 do
    redis.call('LPUSH', KEYS[2], '1')
    wanted = wanted - 1
    listening = listening - 1
end
redis.call('PEXPIRE', KEYS[2], 2000)
local room = tonumber(ARGV[2]) - redis.call('LLEN', KEYS[3])
for number = 3, #ARGV do
    if wanted < 1 or room < 1 then break end
    redis.call('LPUSH', KEYS[3], ARGV[number])
    wanted = wanted - 1
    room = room - 1
end
"""

# KEYS: lingering sets. ARGV: member, seconds.
_LINGER = """
local time = redis.call('TIME')
local ends = tonumber(time[1]) + tonumber(time[2]) / 1000000 + tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, ends, ARGV[1])
    redis.call('PEXPIRE', key, 5000)
end
"""


class Bell:
    """Rings, and listens, on one Redis."""

    def __init__(self, url: str, prefix: str = "") -> None:
        self._prefix = prefix
        self._redis = Redis.from_url(
            redis_url(url), socket_timeout=2, socket_connect_timeout=1, socket_keepalive=True
        )
        self._ring = self._redis.register_script(_RING)
        self._linger = self._redis.register_script(_LINGER)

    def ring(self, queues: Mapping[str, int], most: int = MOST_MESSAGES) -> None:
        """Wake up to so many processes for each queue. Raises Unavailable."""
        try:
            for queue, wanted in queues.items():
                wanted = min(wanted, most)
                messages = [message(SHIFT_TASK, queue) for _ in range(wanted)]
                keys = [self._key("lingering", queue), self._key("bell", queue), self._list(queue)]
                self._ring(keys=keys, args=[wanted, most, *messages])
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error

    def listen(
        self, queues: Sequence[str], seconds: float, member: str
    ) -> Generator[bool, None, None]:
        """Linger: yield True when rung, False now and then so that the caller can look around.

        Raises Unavailable.
        """
        lingering = [self._key("lingering", queue) for queue in queues]
        bells = [self._key("bell", queue) for queue in queues]
        ends = monotonic() + seconds
        try:
            self._linger(keys=lingering, args=[member, seconds + SLICE])
            # What was enqueued a moment ago rang when nobody was listening yet.
            yield False
            while (left := ends - monotonic()) > 0:
                rung = self._redis.blpop(bells, timeout=max(0.01, min(SLICE, left)))
                yield rung is not None
        except redis.RedisError as error:
            raise Unavailable(f"broker unavailable: {error}") from error
        finally:
            self._leave(lingering, member)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _leave(self, lingering: list[str], member: str) -> None:
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key in lingering:
                    pipe.zrem(key, member)
                pipe.execute()
        except redis.RedisError:
            # The entry expires by itself.
            self._redis.close()

    def _key(self, what: str, queue: str) -> str:
        return f"{self._prefix}taskplatform:{what}:{queue}"

    def _list(self, queue: str) -> str:
        return f"{self._prefix}{queue}"


def redis_url(url: str) -> str:
    """The broker URL as redis-py wants it.

    Raises SettingsError for a broker that is not Redis.
    """
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss", "unix"):
        return url
    if parts.scheme in ("redis+socket", "socket"):
        db = parse_qs(parts.query).get("virtual_host", ["0"])[0]
        return f"unix://{parts.path}?db={db}"
    raise SettingsError(
        f"TASKPLATFORM_BROKER_URL starts with {parts.scheme}://: the platform needs Redis or "
        "Valkey (redis://, rediss:// or redis+socket://)"
    )


def ring(queues: Mapping[str, int]) -> None:
    """Ring from a process that is no worker. Raises Unavailable."""
    bell(broker_url()).ring(queues)


_bells: dict[tuple[int, str], Bell] = {}


def bell(url: str, prefix: str = "") -> Bell:
    """The bell of this process; a forked child gets its own."""
    key = (os.getpid(), url)
    if key not in _bells:
        _bells.clear()
        _bells[key] = Bell(url, prefix)
    return _bells[key]


def forget() -> None:
    """Close the bells of this process; the next ring connects anew."""
    for one in _bells.values():
        one.close()
    _bells.clear()
