"""What a message has to be like for kombu and Celery to survive it.

Both trust that what stands in Redis was written by themselves. Each check here stands before a
place where they would raise in the worker's own loop, which ends the worker.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from celery.utils.time import maybe_iso8601, maybe_make_aware

from taskplatform.celery.junk import sample

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LONGEST_NAME = 1_000
# More than a worker can be asked to unpack: 10 MB become 10 GB.
MOST_UNPACKED = 128 * 1024 * 1024
_PIECE = 1024 * 1024


class Flaw(ValueError):
    """Why a message is dropped, in words that hold nothing of it but a sample."""


def vet_payload(payload: Any, acknowledged: bool) -> None:
    """Raise Flaw if what stands in Redis is no message; `acknowledged`: receipts are kept of it."""
    _is(payload, dict, "the message")
    properties = payload.get("properties")
    _is(properties, dict, "its properties")
    _name(properties.get("delivery_tag"), "its delivery tag")
    delivery = properties.get("delivery_info")
    _is(delivery, dict if acknowledged else dict | None, "its delivery info")
    for key in ("exchange", "routing_key"):
        _is((delivery or {}).get(key), str | None, f"its {key}")
        if acknowledged and key not in delivery:
            raise Flaw(f"its {key} is missing")
    for key in ("body", "content-type", "content-encoding"):
        _is(payload.get(key), str | None, f"its {key}")
    _is(properties.get("body_encoding"), str | None, "its body encoding")
    headers = payload.get("headers")
    _is(headers, dict | None, "its headers")
    _is((headers or {}).get("compression"), str | None, "its compression")


def vet_unpacked(data: bytes, compression: str) -> None:
    """Raise Flaw if so much would come out of it that it can only be meant to."""
    make = _UNPACKERS.get(compression)
    if make is None:
        return
    unpack, total = make(), 0
    try:
        while not unpack.eof:
            piece, data = _unpack(unpack, data)
            total += len(piece)
            if total > MOST_UNPACKED:
                raise Flaw(f"it unpacks to over {MOST_UNPACKED:,} bytes")
            if not piece and not data:
                return
    except (zlib.error, OSError, EOFError, lzma.LZMAError):
        # kombu meets it again, and gives it to whoever handles what cannot be decoded.
        return


def vet_task(headers: Mapping[str, Any], decode: Callable[[], Any], timezone: Any) -> None:
    """Raise Flaw if a message for a known task is none that Celery could have sent."""
    _name(headers.get("id"), "its task id")
    _is(headers.get("shadow"), str | None, "its shadow")
    if headers.get("shadow"):
        _name(headers["shadow"], "its shadow")
    _vet_time_limits(headers.get("timelimit"))
    for key in ("eta", "expires"):
        _vet_time(headers.get(key), key, timezone)
    _is(headers.get("stamped_headers"), list | None, "its stamped headers")
    _is(headers.get("stamps"), dict | None, "its stamps")
    if not all(isinstance(one, str) for one in headers.get("stamped_headers") or ()):
        raise Flaw("its stamped headers are no names")
    vet_arguments(decode())


def vet_arguments(body: Any) -> None:
    """Raise Flaw if the body is not [args, kwargs, embed], or a mapping that names args."""
    if isinstance(body, dict) and "args" in body:
        return
    if not isinstance(body, list | tuple) or len(body) != 3:
        raise Flaw("its body is no [args, kwargs, embed]")
    args, kwargs, embed = body
    _is(args, list | tuple, "its args")
    _is(kwargs, dict, "its kwargs")
    _is(embed, dict | None, "what is embedded")


def vet_first_protocol(body: Any) -> None:
    """Raise Flaw if a message of Celery's first protocol, all of it in the body, is none."""
    if isinstance(body, dict) and "task" in body:
        _name(body["task"], "its task")
        _name(body.get("id"), "its task id")
        _vet_time_limits(body.get("timelimit"))


def _vet_time_limits(value: Any) -> None:
    if not value:
        return
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise Flaw("its time limits are no pair")
    for one in value:
        if one is not None and not (isinstance(one, int | float) and 0 <= one < 1e10):
            raise Flaw("a time limit of it is no number of seconds")
        if isinstance(one, float) and not isfinite(one):
            raise Flaw("a time limit of it is no number of seconds")


def _vet_time(value: Any, key: str, timezone: Any) -> None:
    if value is None:
        return
    _is(value, str, f"its {key}")
    try:
        maybe_make_aware(maybe_iso8601(value), timezone).timestamp()
    except Exception as error:
        raise Flaw(f"its {key} is no time: {sample(value)}") from error


def _name(value: Any, what: str) -> None:
    _is(value, str, what)
    if not 0 < len(value) <= LONGEST_NAME or CONTROL.search(value):
        raise Flaw(f"{what} is empty, very long or holds control characters")
    if not _encodable(value):
        raise Flaw(f"{what} cannot be encoded")


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is(value: Any, kind: Any, what: str) -> None:
    if not isinstance(value, kind):
        raise Flaw(f"{what} is a {type(value).__name__}")


def _unpack(unpack: Any, data: bytes) -> tuple[bytes, bytes]:
    """One piece, and what is left to be given to it."""
    piece: bytes = unpack.decompress(data, _PIECE)
    # zlib wants back what it did not take, the others keep it.
    return piece, getattr(unpack, "unconsumed_tail", b"")


_UNPACKERS: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"), zlib.decompressobj),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), bz2.BZ2Decompressor),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), lzma.LZMADecompressor),
}
