"""Named messages of the application."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class Event(BaseModel):
    """Something that happened to a run; the same `id` on every delivery."""

    id: UUID
    name: str
    run_id: UUID
    pipeline: str
    at: datetime
    data: Any = None
