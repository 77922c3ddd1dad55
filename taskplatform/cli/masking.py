"""URLs without their secrets, to be shown."""

import re
from urllib.parse import urlsplit, urlunsplit

_SECRET = re.compile(r"((?:^|&)(?:password|sslpassword)=)[^&]*")


def masked(url: str) -> str:
    """A URL whose password is ***."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:***"
    query = _SECRET.sub(r"\1***", parts.query)
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}", query=query))
