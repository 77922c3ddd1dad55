"""Named messages of the application."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class Event(BaseModel):
    """Something that happened; the same `id` on every delivery.

    Events of the platform say to which run of which pipeline; those that the application sends
    have neither.
    """

    id: UUID
    name: str
    run_id: UUID | None = None
    pipeline: str | None = None
    at: datetime
    data: Any = None
