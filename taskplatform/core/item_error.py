"""What stands in a map's list for an item that failed."""

from pydantic import BaseModel


class ItemError(BaseModel):
    """An item's failure, of a map with `on_item_error="collect"`; `index` counts from 0."""

    index: int
    type: str
    message: str
