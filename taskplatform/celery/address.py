"""Where the doorbell hangs: the Redis of a Celery app, as redis-py wants it."""

from bisect import bisect
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from celery import Celery

from taskplatform.errors import SettingsError

# kombu's Redis transport keeps a queue as one list for each step of priorities, first to last.
_STEPS = (0, 3, 6, 9)
_SEPARATOR = "\x06\x16"


@dataclass(frozen=True, slots=True)
class Address:
    """One Redis, and how names on it are written; the URL may hold a password."""

    url: str
    prefix: str = ""
    suffix: str = ""
    tls: dict[str, Any] = field(default_factory=dict)


def address_of(app: Celery) -> Address:
    """The broker that the app publishes to.

    Raises SettingsError for a broker that is not Redis.
    """
    conf = app.conf
    urls = conf.broker_write_url
    url = (urls.split(";") if isinstance(urls, str) else list(urls or [""]))[0]
    options = conf.broker_transport_options or {}
    tls = dict(conf.broker_use_ssl) if isinstance(conf.broker_use_ssl, dict) else {}
    if conf.broker_use_ssl and url.startswith("redis://"):
        url = url.replace("redis://", "rediss://", 1)
    return Address(
        redis_url(url, f"broker_url of the app '{app.main}'"),
        options.get("global_keyprefix", ""),
        # A worker that takes only what it can start would take shifts for ever.
        _suffix(options, last=bool(conf.worker_disable_prefetch)),
        tls,
    )


def redis_url(url: str, setting: str = "TASKPLATFORM_BROKER_URL") -> str:
    """The broker URL as redis-py wants it.

    Raises SettingsError, naming the setting, for a broker that is not Redis.
    """
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss", "unix"):
        return _with_names_of_redis_py(url) if "CERT_" in parts.query else url
    if parts.scheme in ("redis+socket", "socket"):
        db = parse_qs(parts.query).get("virtual_host", ["0"])[0]
        return f"unix://{parts.path}?db={db}"
    raise SettingsError(
        f"{setting} starts with {parts.scheme}://: the platform needs Redis or "
        "Valkey (redis://, rediss:// or redis+socket://)"
    )


def _with_names_of_redis_py(url: str) -> str:
    # kombu takes the names of the ssl module, redis-py only its own.
    parts = urlsplit(url)
    query = [
        (name, value.removeprefix("CERT_").lower() if name == "ssl_cert_reqs" else value)
        for name, value in parse_qsl(parts.query)
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _suffix(options: dict[str, Any], last: bool) -> str:
    # As kombu does it for a message of priority 0.
    steps = options.get("priority_steps") or _STEPS
    step = steps[-1 if last else bisect(steps, 0) - 1]
    return f"{options.get('sep', _SEPARATOR)}{step}" if step else ""
