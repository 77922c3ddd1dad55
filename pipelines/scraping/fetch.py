"""Fetch one page or feed by HTTP, within limits."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

import httpcore2
import httpx2

from pipelines.scraping.body import TooBig, read_body
from pipelines.scraping.guard import Allowed, Resolver, vet_url
from pipelines.scraping.kinds import Kind, accepts
from pipelines.scraping.network import Deadline, VettedNetwork, system_resolver
from pipelines.scraping.retry_after import retry_after
from taskplatform import Permanent, RetryAfter

REDIRECTS = frozenset({301, 302, 303, 307, 308})
TRANSIENT = frozenset({408, 421, 425, 429})


class FetchFailed(Exception):
    """The other side or the way to it failed; another attempt may succeed."""


NOTHING_PRIVATE = Allowed()

# Given the headers and the status of every answer; may raise RetryAfter.
Told = Callable[[Mapping[str, str], int], object]


def _nobody(_: Mapping[str, str], __: int) -> None:
    pass


@dataclass(frozen=True)
class Limits:
    """What one fetch may take; times in seconds, redirects included."""

    total: float = 30.0
    connect: float = 5.0
    redirects: int = 5
    max_bytes: int = 10 * 1024 * 1024


@dataclass(frozen=True)
class Response:
    """A body with what is needed to read it; `url` is the last one after redirects."""

    url: str
    status: int
    content_type: str
    body: bytes = field(repr=False)


@cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def fetch(
    url: str,
    kind: Kind = "auto",
    *,
    limits: Limits = Limits(),
    allowed: Allowed = NOTHING_PRIVATE,
    resolver: Resolver = system_resolver,
    tls: ssl.SSLContext | None = None,
    told: Told = _nobody,
) -> Response:
    """Fetch the URL, following redirects, each vetted as the first URL was.

    Raises Permanent where another attempt would end alike, RetryAfter where the server said
    when to come back, FetchFailed else.
    """
    deadline = Deadline(limits.total)
    network = VettedNetwork(deadline, allowed, resolver)
    current = vet_url(url)
    with httpcore2.ConnectionPool(tls or _tls(), network_backend=network) as pool:
        try:
            for _ in range(limits.redirects + 1):
                answer = _get(pool, current, kind, limits, told)
                if isinstance(answer, Response):
                    return answer
                current = answer
        except (
            httpcore2.NetworkError,
            httpcore2.TimeoutException,
            httpcore2.ProtocolError,
            OSError,
            ValueError,
        ) as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise FetchFailed(f"{shown(current)}: {reason}") from error
    raise Permanent(f"{shown(vet_url(url))} redirects more than {limits.redirects} times")


def shown(url: httpx2.URL) -> str:
    """Return the URL for a message, without its query, which may hold a secret."""
    return str(url.copy_with(query=None, fragment=None))


def _get(
    pool: httpcore2.ConnectionPool, url: httpx2.URL, kind: Kind, limits: Limits, told: Told
) -> Response | httpx2.URL:
    request = httpcore2.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    headers = [
        (b"Host", url.netloc),
        (b"User-Agent", b"taskplatform-scrape/1"),
        (b"Accept", b"text/html, application/xml;q=0.9, */*;q=0.1"),
        (b"Accept-Encoding", b"gzip"),
    ]
    timeout = {
        "connect": limits.connect,
        "read": limits.total,
        "write": limits.total,
        "pool": limits.total,
    }
    with pool.stream("GET", request, headers=headers, extensions={"timeout": timeout}) as answer:
        answered = httpx2.Headers(answer.headers)
        if answer.status in REDIRECTS and "location" in answered:
            return _target(url, answered["location"])
        if "retry-after" in answered or 200 <= answer.status < 300:
            told(answered, answer.status)
        _refuse_status(url, answer.status, answered)
        content_type = answered.get("content-type", "")[:200]
        if not accepts(kind, content_type):
            raise Permanent(f"{shown(url)} is {content_type!r}, not a {_named(kind)}")
        declared = answered.get("content-length", "")
        if declared.isdigit() and int(declared) > limits.max_bytes:
            raise TooBig(f"{shown(url)} announces {int(declared):,} bytes")
        chunks = answer.iter_stream()
        body = read_body(chunks, answered.get("content-encoding", ""), limits.max_bytes)
        return Response(str(url), answer.status, content_type, body)


def _named(kind: Kind) -> str:
    return "page or a feed" if kind == "auto" else kind


def _target(url: httpx2.URL, location: str) -> httpx2.URL:
    try:
        return vet_url(str(url.join(location)))
    except httpx2.InvalidURL as error:
        raise Permanent(f"{shown(url)} redirects to no URL: {error}") from error


def _refuse_status(url: httpx2.URL, status: int, headers: httpx2.Headers) -> None:
    if 200 <= status < 300:
        return
    message = f"{shown(url)} answered {status}"
    if status in (429, 503):
        seconds = retry_after(headers.get("retry-after", ""), datetime.now(UTC))
        if seconds is not None:
            raise RetryAfter(seconds, f"{message}: try again in {seconds:.0f} s")
    if status >= 500 or status in TRANSIENT:
        raise FetchFailed(message)
    raise Permanent(message)
