"""Find runs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from taskplatform.client.run import Run
from taskplatform.client.session import call
from taskplatform.client.shape import summary
from taskplatform.client.view import RunSummary
from taskplatform.client.when import check_moment
from taskplatform.core.run import Status
from taskplatform.errors import InvalidInput, RunNotFound
from taskplatform.storage import history, history_list
from taskplatform.storage.history_list import Wanted

_MOST = 500


def get_run(id: UUID | str) -> Run[Any]:
    """The run of that id. Raises RunNotFound."""
    run_id = _id(id)
    look = call(lambda connection, _: history.look(connection, run_id))
    if look is None:
        raise RunNotFound(f"there is no run {run_id}")
    return Run(run_id, look.pipeline, look=look)


def list_runs(
    *,
    pipeline: str | None = None,
    key: str | None = None,
    owner: str | None = None,
    status: str | Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    after: UUID | str | None = None,
    handlers: bool = False,
) -> list[RunSummary]:
    """Runs created in [since, until), newest first; `after` is the last id of the page before.

    The runs of event handlers are left out, unless `handlers` or their pipeline asks for them.

    Raises InvalidInput.
    """
    if not 1 <= limit <= _MOST:
        raise InvalidInput(f"limit={limit}: give a number from 1 to {_MOST}")
    if since is not None:
        check_moment("since", since)
    if until is not None:
        check_moment("until", until)
    statuses = [] if status is None else [status] if isinstance(status, str) else list(status)
    wanted = Wanted(
        pipeline=pipeline,
        key=key,
        owner=owner,
        statuses=[_status(one) for one in statuses],
        since=since,
        until=until,
        after=None if after is None else _id(after),
        handlers=handlers,
    )
    rows = call(lambda connection, _: history_list.list_runs(connection, wanted, limit))
    return [summary(row) for row in rows]


def _id(id: UUID | str) -> UUID:
    try:
        return id if isinstance(id, UUID) else UUID(id)
    except ValueError:
        raise RunNotFound(f"there is no run {id!r}: an id is 32 hexadecimal digits") from None


def _status(name: str) -> str:
    try:
        return Status(name).value
    except ValueError:
        raise InvalidInput(f"status {name!r}: give one of {', '.join(Status)}") from None
