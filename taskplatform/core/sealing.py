"""Secrets in stored JSON: sealed before they are stored, opened for who may see them.

A sealed value stands in JSON as `{"$sealed": "<key id>:<text>"}`. Those bytes can stand for nothing
else in valid JSON, so they are found without parsing.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pydantic_core import from_json, to_json

from taskplatform.core.redaction import SHORTEST, SHOWN
from taskplatform.errors import CannotOpen, NoSecretKey

SEALED = b'"$sealed"'
_SEALED = re.compile(rb'\{\s*"\$sealed"\s*:\s*"([^"\\:]*):([^"\\]*)"\s*\}')
_SHOWN = to_json(SHOWN)
_MOST_TEXTS = 1000
_BEARER = re.compile(r"[Bb](?:earer|asic)\s+(\S+)")
_PASSWORD = re.compile(r"assword=(?:'([^']*)'|([^\s&]*))")


class Vault(Protocol):
    """Who has the keys."""

    def seal(self, plain: bytes) -> tuple[str, str]:
        """The id of the key that was used, and the sealed text; the same for the same bytes."""

    def open(self, key: str, sealed: str) -> bytes:
        """What was sealed. Raises CannotOpen."""


_own: ContextVar[Vault | None] = ContextVar("taskplatform_vault", default=None)


@contextmanager
def sealed_by(vault: Vault) -> Iterator[None]:
    """Seal and open by this one meanwhile, instead of by the settings' keys."""
    token = _own.set(vault)
    try:
        yield
    finally:
        _own.reset(token)


def vault() -> Vault:
    """Who seals and opens here.

    Raises NoSecretKey.
    """
    own = _own.get()
    if own is not None:
        return own
    # By name: keys come from the settings, and cryptography is loaded by who has secrets only.
    found: Vault = import_module("taskplatform.vault").current()
    return found


def seal(value: Any) -> dict[str, str]:
    """A plain JSON value, sealed. Raises NoSecretKey."""
    key, text = vault().seal(to_json(value))
    return {"$sealed": f"{key}:{text}"}


def opened(data: bytes) -> bytes:
    """The JSON with its secrets.

    Raises CannotOpen, also where there is no key at all.
    """
    return _SEALED.sub(_open, data) if SEALED in data else data


def shown(data: bytes) -> Any:
    """The value that people are shown: each secret is ***."""
    return from_json(_SEALED.sub(_SHOWN, data) if SEALED in data else data)


def same(one: bytes, other: bytes) -> bool:
    """Whether two stored values are the same, by whichever keys they were sealed."""
    return one == other or (SEALED in one and SEALED in other and opened(one) == opened(other))


def secrets_in(*stored: bytes | None, shortest: int = SHORTEST) -> tuple[str, ...]:
    """The texts that must not appear where these values are worked with.

    Values that cannot be opened here are nobody's to betray.
    """
    found: set[str] = set()
    for data in stored:
        if data is not None and SEALED in data:
            for sealed in _SEALED.finditer(data):
                try:
                    found.update(texts(from_json(_open(sealed)), shortest))
                except CannotOpen:
                    continue
    return tuple(found)


def texts(value: Any, shortest: int = SHORTEST) -> Iterator[str]:
    """The texts and numbers in a plain value, and the passwords within those."""
    stack, left = [value], _MOST_TEXTS
    while stack and left:
        one = stack.pop()
        if isinstance(one, dict):
            stack += one.values()
        elif isinstance(one, list | tuple):
            stack += one
        elif isinstance(one, str | int | float) and not isinstance(one, bool):
            left -= 1
            text = str(one)
            if len(text) >= shortest:
                yield text
            yield from _inner(text)


def _inner(text: str) -> Iterator[str]:
    if "://" in text:
        try:
            parts = urlsplit(text)
        except ValueError:
            return
        secret = parts.password or (parts.username if parts.password is None else None)
        if secret:
            yield from {secret, unquote(secret)}
    for found in (*_BEARER.finditer(text), *_PASSWORD.finditer(text)):
        yield next(one for one in found.groups() if one is not None)


def _open(found: re.Match[bytes]) -> bytes:
    try:
        return vault().open(found[1].decode(), found[2].decode())
    except (NoSecretKey, UnicodeDecodeError) as error:
        raise CannotOpen(str(error)) from None
