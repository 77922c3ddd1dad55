"""The keys that secrets are sealed with, and the cipher: AES-SIV (RFC 5297).

It is deterministic and authenticated: equal secrets give equal texts, so that stored values can be
compared, and what was changed is refused.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from taskplatform.errors import CannotOpen, NoSecretKey
from taskplatform.settings import MAKE_KEY, PREFIX, get_settings

NAME = f"{PREFIX}SECRET_KEYS"
# So that the length of a short secret is not told.
_BLOCK = 32
_ABOUT = [b"taskplatform"]
_BITS = 512


class Keys:
    """The first key seals, all of them open."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Keys of 32, 48 or 64 bytes."""
        self._ciphers = {_id(key): AESSIV(key) for key in keys}
        self._first = _id(keys[0])

    @classmethod
    def of_its_own(cls) -> "Keys":
        """With a key that nobody else ever has."""
        return cls([AESSIV.generate_key(_BITS)])

    def seal(self, plain: bytes) -> tuple[str, str]:
        """The id of the first key, and the sealed text."""
        # JSON may end with blanks.
        padded = plain.ljust(-(-len(plain) // _BLOCK) * _BLOCK)
        sealed = self._ciphers[self._first].encrypt(padded, _ABOUT)
        return self._first, base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, key: str, sealed: str) -> bytes:
        """What was sealed.

        Raises CannotOpen if the key is not here, or the text was changed.
        """
        cipher = self._ciphers.get(key)
        if cipher is None:
            have = ", ".join(self._ciphers)
            raise CannotOpen(
                f"a secret is sealed with key {key[:16]}, which {NAME} does not have "
                f"(it has {have}): add that key behind the others"
            )
        try:
            return cipher.decrypt(_bytes(sealed), _ABOUT).rstrip(b" ")
        except (InvalidTag, ValueError):
            raise CannotOpen(f"a secret sealed with key {key} was changed since") from None


def read(text: str) -> list[bytes]:
    """The keys in a setting: base64, comma separated, the first one seals.

    Raises ValueError, without the keys.
    """
    keys = []
    for place, one in enumerate(text.split(","), 1):
        try:
            key = _bytes(one.strip())
        except ValueError:
            key = b""
        if len(key) not in (32, 48, 64):
            raise ValueError(f"key {place} is no base64 of 32, 48 or 64 bytes; {MAKE_KEY}")
        keys.append(key)
    return keys


def current() -> Keys:
    """The keys of this process; with an embedded database, if none are set, one of its own.

    Raises NoSecretKey.
    """
    settings = get_settings()
    if settings.secret_keys is not None:
        return _read(settings.secret_keys.get_secret_value())
    if settings.database_url is not None:
        raise NoSecretKey(f"there is a secret to store and no key to seal it with: {MAKE_KEY}")
    return _embedded(settings.home.resolve())


@lru_cache(maxsize=8)
def _read(text: str) -> Keys:
    try:
        return Keys(read(text))
    except ValueError as error:
        raise NoSecretKey(f"{NAME}: {error}") from None


@lru_cache(maxsize=8)
def _embedded(home: Path) -> Keys:
    # By name, as in `endpoints`: the embedded servers stand above.
    text = import_module("taskplatform.embedded").secret_key(home, secrets.token_urlsafe(64))
    return Keys(read(text))


def _bytes(text: str) -> bytes:
    plain = text.replace("+", "-").replace("/", "_").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("no base64") from None


def _id(key: bytes) -> str:
    return hashlib.sha256(b"taskplatform key id:" + key).hexdigest()[:8]
