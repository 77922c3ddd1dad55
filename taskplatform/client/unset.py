"""The value of an argument that was not given, where None means something."""

from enum import Enum
from typing import Final


class Unset(Enum):
    """Has one member, so that type checkers can tell it from any other value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
