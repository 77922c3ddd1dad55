"""Find runs."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from taskplatform.client.run import Run
from taskplatform.client.view import RunSummary


def get_run(id: UUID | str) -> Run:
    """The run of that id; raises RunNotFound."""
    raise NotImplementedError


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
) -> list[RunSummary]:
    """Runs created in [since, until), newest first; `after` = the last id of the page before."""
    raise NotImplementedError
