"""Which keys name a secret, by the words that they end with."""

import re
from functools import lru_cache

# Sequences of whole words. `tokens` is left out: those are counted more often than hidden.
ENDINGS = (
    "password",
    "passwords",
    "passwd",
    "pwd",
    "passcode",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "apikey",
    "api key",
    "api keys",
    "access key",
    "secret key",
    "private key",
    "signing key",
    "encryption key",
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
)
_ENDINGS = frozenset(ENDINGS)
_LONGEST = 100
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# Each of the endings holds one of these.
_HINT = re.compile(rb"pass|pwd|secret|token|key|authoriz|cookie|credential")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a key of that name holds a secret: `db_password`, `apiKey`, `X-Api-Key`, `token2`."""
    words = [word.lower() for word in _WORDS.findall(name[-_LONGEST:])]
    return any(" ".join(words[-length:]) in _ENDINGS for length in (1, 2))


def may_name_a_secret(data: bytes) -> bool:
    """Whether it is worth looking at the keys of this JSON."""
    return _HINT.search(data.lower()) is not None
