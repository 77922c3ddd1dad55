"""A pipeline, as the application declares and enqueues it (signatures)."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from taskplatform.client.run import Run
from taskplatform.client.unset import UNSET, Unset

Duration = float | str | timedelta
Input = BaseModel | Mapping[str, Any] | str | bytes


class Pipeline:
    """A declaration that can be enqueued."""

    def enqueue(
        self,
        input: Input,
        *,
        key: str | None | Unset = UNSET,
        owner: str | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        force: bool | None = None,
        request_id: str | None = None,
    ) -> Run:
        raise NotImplementedError


def enqueue_many(pipeline: Pipeline, inputs: Iterable[Input], **options: Any) -> list[Run]:
    """Enqueue all inputs, thousands per call; runs in input order."""
    raise NotImplementedError
