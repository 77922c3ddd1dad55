"""A run, as the application holds it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from taskplatform.client.unset import UNSET, Unset
from taskplatform.client.view import RunErrorView, RunView


class Run:
    """A run by its id; what it shows is as of the last look (`refresh()` looks again)."""

    id: UUID
    pipeline: str

    @property
    def status(self) -> str:
        raise NotImplementedError

    @property
    def reason(self) -> str | None:
        raise NotImplementedError

    @property
    def due_at(self) -> datetime | None:
        raise NotImplementedError

    @property
    def error(self) -> RunErrorView | None:
        raise NotImplementedError

    @property
    def output(self) -> Any:
        raise NotImplementedError

    def refresh(self) -> "Run":
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> "Run":
        raise NotImplementedError

    def cancel(self) -> bool:
        raise NotImplementedError

    def retry(self) -> "Run":
        raise NotImplementedError

    def replay(
        self,
        from_step: str | None = None,
        input: BaseModel | Mapping[str, Any] | str | bytes | Unset = UNSET,
    ) -> "Run":
        raise NotImplementedError

    def view(self) -> RunView:
        raise NotImplementedError
