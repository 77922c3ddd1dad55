"""What JSON that goes into the database must not contain, and where a value contains it."""

import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

LARGEST = 1024 * 1024
DEEPEST = 64

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_PLAIN = (str, int, float, dict, list, tuple, type(None))


class InvalidJson(ValueError):
    """The value cannot be stored as JSON; the message names the place."""


def check_size(data: bytes) -> None:
    """Refuse text over the cap; raises InvalidJson."""
    if len(data) > LARGEST:
        raise InvalidJson(
            f"is {len(data) / LARGEST:.1f} MiB; the limit is 1 MiB: "
            "store it elsewhere and pass a reference to it"
        )


def check_bytes(data: bytes) -> None:
    """Refuse JSON over the caps, or with U+0000, NaN or Infinity; it must be well-formed.

    Raises InvalidJson.
    """
    if len(data) > 2 * DEEPEST:
        check_size(data)
        if data.count(b"[") + data.count(b"{") > DEEPEST and depth(data) > DEEPEST:
            raise InvalidJson(f"is nested deeper than {DEEPEST} levels")
    if b"\\u0000" in data and _NUL.search(data):
        place = find(json.loads(data), lambda one: isinstance(one, str) and "\0" in one)
        raise InvalidJson(f"{place or '$'} has the character U+0000, which Postgres cannot store")
    if b"NaN" in data or b"Infinity" in data:
        json.loads(data, parse_constant=_refuse_constant)


def depth(data: bytes) -> int:
    """How deep the JSON text is nested."""
    brackets = _STRING.sub(b"", data).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _refuse_constant(name: str) -> float:
    raise InvalidJson(f"has a number that is {name}, which JSON does not have")


def non_finite(value: object) -> str | None:
    """Where NaN or an infinity is, as a path."""
    return find(value, lambda one: isinstance(one, float) and not math.isfinite(one))


def surrogate(value: object) -> str | None:
    """Where half of a surrogate pair is, as a path."""
    return find(value, lambda one: isinstance(one, str) and bool(_SURROGATE.search(one)))


def find(value: object, wrong: Callable[[object], bool]) -> str | None:
    """The path of the first value, or of the first mapping with a key, that is `wrong`."""
    for path, one, keys in _walk(value):
        if wrong(one):
            return path
        if any(wrong(key) for key in keys):
            return f"a key of {path}"
    return None


def _walk(value: object) -> Iterator[tuple[str, object, list[object]]]:
    stack: list[tuple[str, Any, int]] = [("$", value, 0)]
    while stack:
        path, one, level = stack.pop()
        keys = list(one) if isinstance(one, dict) else []
        yield path, one, keys
        # Cyclic and bottomless values are refused elsewhere; here they must only end.
        if level > DEEPEST:
            continue
        if isinstance(one, dict):
            children = [(f"{path}.{str(key)[:60]}", inner) for key, inner in one.items()]
        elif isinstance(one, list | tuple):
            children = [(f"{path}[{index}]", inner) for index, inner in enumerate(one)]
        else:
            continue
        stack += [(where, inner, level + 1) for where, inner in reversed(children)]


def check_survives(before: Any, after: Any) -> None:
    """Refuse a value whose plain form differs once it has been through JSON.

    A set under `Any` would come back as a list, NaN under `float | None` as None: the next
    step would see something else than what was returned. Raises InvalidJson.
    """
    stack = [("$", before, after)]
    while stack:
        path, was, now = stack.pop()
        if isinstance(was, float) and not math.isfinite(was) and now is None:
            raise InvalidJson(f"{path} is {was}, which JSON does not have")
        if isinstance(was, dict) and isinstance(now, dict):
            if len(was) != len(now) or not all(key in now for key in was):
                raise InvalidJson(f"{path} has keys that are not text: make them str")
            stack += [(f"{path}.{str(key)[:60]}", was[key], now[key]) for key in was]
        elif isinstance(was, list | tuple) and isinstance(now, list | tuple):
            pairs = enumerate(zip(was, now, strict=False))
            stack += [(f"{path}[{index}]", one, other) for index, (one, other) in pairs]
        elif not isinstance(was, _PLAIN) and isinstance(now, _PLAIN):
            kind = type(was).__name__.replace("SerializationIterator", "generator")
            raise InvalidJson(
                f"{path} is a {kind}, which would come back as a {type(now).__name__}: "
                "say its type in the annotation, or return plain JSON"
            )
