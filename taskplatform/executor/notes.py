"""What is noted in a slot of the body that runs, and the last that it reported."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Note:
    """The body that runs now; a hard deadline of 0 means none."""

    work_id: int
    epoch: int
    started_ns: int
    hard_deadline_ns: int


class Report(NamedTuple):
    """The last word of a body; `done` and `total` are NaN when not known.

    A `silence_ns` of 0 means that it need not report at all.
    """

    work_id: int
    epoch: int
    started_ns: int
    beat_ns: int
    silence_ns: int
    done: float
    total: float
