"""As many runs as one statement stores."""

from collections.abc import Sequence

from taskplatform.storage.new_run import NewRun

_ROWS = 1000
_BYTES = 8 << 20


def chunks(rows: Sequence[NewRun]) -> list[list[NewRun]]:
    """The rows in order, by a thousand or by 8 MiB of inputs; of more than that fewer at first."""
    # Workers begin when the first are stored, and have enough to do until the next are.
    most = _ROWS if len(rows) <= _ROWS else max(1, _ROWS // 4)
    found: list[list[NewRun]] = []
    chunk: list[NewRun] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == most or size + len(row.input) > _BYTES):
            found.append(chunk)
            chunk, size = [], 0
            most = min(2 * most, _ROWS)
        chunk.append(row)
        size += len(row.input)
    if chunk:
        found.append(chunk)
    return found
