"""URLs without their secrets, to be shown."""

import re

_USER = re.compile(r"://([^/?#:]*):[^/?#]*@")
_PARAMETER = re.compile(r"(password=)('[^']*'|[^&\s]*)")


def masked(url: str) -> str:
    """A URL, or a list of libpq's parameters, whose password is ***."""
    return _PARAMETER.sub(r"\1***", _USER.sub(r"://\1:***@", url))
