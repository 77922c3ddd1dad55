"""What `doctor` looks at on Redis or Valkey."""

from collections.abc import Iterator, Mapping
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskplatform.celery.address import redis_url
from taskplatform.celery.fullness import REMEDY
from taskplatform.cli.finding import Finding, bad, good, odd
from taskplatform.core.redaction import redact
from taskplatform.errors import SettingsError

# The doorbell's script writes after it asked for the time, which older ones refuse.
_OLDEST = 5
_PATIENCE = 2.0


def broker(url: str, *, durable: bool = True) -> Iterator[Finding]:
    """Reachable, new enough, and evicting nothing; `durable`: also what a restart of it loses."""
    try:
        # Not tried again: whoever asks wants to know how it is now.
        with Redis.from_url(
            redis_url(url),
            socket_timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            info: Mapping[str, Any] = client.info()
    except (SettingsError, ValueError) as error:
        yield bad("broker", str(error), "set TASKPLATFORM_BROKER_URL to a URL of Redis or Valkey")
        return
    except RedisError as error:
        remedy = "start it, or correct TASKPLATFORM_BROKER_URL; runs are stored and wait meanwhile"
        yield bad("broker", f"{redact(url)} cannot be reached: {error}", remedy)
        return
    yield reachable(url, info)
    yield eviction(info)
    if durable:
        yield persistence(info)
    if is_full(info):
        what = "the broker's memory is full: it refuses rings and Celery's messages"
        yield bad("memory", what, REMEDY)


def reachable(url: str, info: Mapping[str, Any]) -> Finding:
    """Which server answered."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", "unknown"))
    said = f"{name} {version} at {redact(url)}"
    major = str(info.get("redis_version", "")).partition(".")[0]
    if major.isdigit() and int(major) < _OLDEST:
        return bad("broker", f"{said} is too old", f"use Redis {_OLDEST} or newer, or Valkey")
    return good("broker", f"{said} answers")


def eviction(info: Mapping[str, Any]) -> Finding:
    """A full broker must refuse messages, not forget some."""
    most = int(info.get("maxmemory", 0) or 0)
    policy = str(info.get("maxmemory_policy", ""))
    if not most:
        return good("eviction", "the broker has no memory limit, so it evicts nothing")
    if not policy:
        what = "the broker has a memory limit and does not tell its maxmemory-policy"
        return odd("eviction", what, "see to it that maxmemory-policy is noeviction")
    if policy == "noeviction":
        return good("eviction", f"maxmemory is {most >> 20} MiB, maxmemory-policy is noeviction")
    what = f"maxmemory is set and maxmemory-policy is {policy}: Celery's messages may vanish"
    return bad("eviction", what, "redis-cli CONFIG SET maxmemory-policy noeviction")


def is_full(info: Mapping[str, Any]) -> bool:
    """Whether it is at its limit."""
    most = int(info.get("maxmemory", 0) or 0)
    return bool(most) and int(info.get("used_memory", 0) or 0) >= most


def persistence(info: Mapping[str, Any]) -> Finding:
    """Runs are in the database; what a restart loses are messages of plain Celery tasks."""
    if int(info.get("aof_enabled", 0) or 0):
        return good("persistence", "the broker keeps an append-only file")
    what = "the broker keeps no append-only file; runs are safe, they are in the database"
    return odd("persistence", what, "for plain Celery tasks: redis-cli CONFIG SET appendonly yes")
