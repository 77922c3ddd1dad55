"""Debounce: the runs of a burst are one, which is put off with each of them."""

from collections.abc import Iterator

from taskplatform.errors import InvalidInput
from taskplatform.middleware.enqueuing import Enqueuing


def debounce(call: Enqueuing) -> Iterator[None]:
    """Let runs that have a key, and are not forced, wait for more of it.

    Raises InvalidInput for what would say in another way when the run is due, or which it is.
    """
    declared = call.declaration.debounce
    if declared is not None:
        for run in call.runs:
            if run.owned_key is None:
                continue
            if run.delay is not None or run.at is not None or run.hold:
                raise InvalidInput(
                    f"pipeline '{call.pipeline}' has debounce=, which says when a run is due: "
                    "leave delay, at and hold out, or force the run"
                )
            if run.request_id is not None:
                raise InvalidInput(
                    f"pipeline '{call.pipeline}' has debounce=, so calls share a run: leave "
                    "request_id out, or force the run"
                )
            run.debounce, run.delay = declared, declared.period
    yield
