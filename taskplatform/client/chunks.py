"""As many runs as one statement stores."""

from collections.abc import Sequence

from taskplatform.storage.new_run import NewRun

_ROWS = 1000
_BYTES = 8 << 20


def chunks(rows: Sequence[NewRun]) -> list[list[NewRun]]:
    """The rows in order, by a thousand or by 8 MiB of inputs."""
    found: list[list[NewRun]] = []
    chunk: list[NewRun] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == _ROWS or size + len(row.input) > _BYTES):
            found.append(chunk)
            chunk, size = [], 0
        chunk.append(row)
        size += len(row.input)
    if chunk:
        found.append(chunk)
    return found
