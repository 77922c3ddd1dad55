"""Singleton: what becomes of a run while another one owns its key."""

from collections.abc import Iterator

from taskplatform.middleware.enqueuing import Enqueuing


def singleton(call: Enqueuing) -> Iterator[None]:
    """Tell the storage what the pipeline says of a key that is taken; forced runs have none."""
    strategy = call.declaration.singleton
    if strategy != "return":
        for run in call.runs:
            run.singleton = strategy
    yield
