"""Numbers that an application gives, checked at the door."""

from taskplatform.errors import InvalidInput

_LOWEST, _HIGHEST = -(2**31), 2**31 - 1


def priority_of(value: object) -> int:
    """A priority. Raises InvalidInput."""
    if not isinstance(value, int) or isinstance(value, bool) or not _LOWEST <= value <= _HIGHEST:
        raise InvalidInput(f"priority={value!r}: give a whole number of 32 bits, 0 is usual")
    return value
