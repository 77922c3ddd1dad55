"""A model that is not what the first version stored."""

from pydantic import BaseModel


class Other(BaseModel):
    """Not what is stored."""

    colour: str
