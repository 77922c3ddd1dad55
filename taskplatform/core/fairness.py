"""Fairness: whose turn it is among the lanes of queues.

A lane is all ready work of one fair key on one queue. What it has used of the workers, in seconds
by its weight, is its virtual time. The lane that is least ahead comes next, and is taken to have
used what its next one is expected to cost. A point of priority is worth some seconds of that, so
that nothing starves behind what is more urgent either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace


@dataclass(frozen=True, slots=True)
class Lane:
    """What is ready of one fair key on one queue; `priority` and `rank` are those of its head.

    `vtime` is None for one that has just come in; then it begins at `floor`, unless there are
    others on its queue. `cost` is the expected seconds of its head.
    """

    queue: str
    name: str
    rank: int
    priority: int
    cost: float
    weight: float = 1.0
    vtime: float | None = None
    floor: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """So `many` of a lane, the first at `start`, each next one `pace` later.

    `base` is the virtual time at which the lane begins if it has just come in.
    """

    queue: str
    name: str
    many: int
    start: float
    pace: float
    base: float


def turns(lanes: Sequence[Lane], many: int, ageing: float) -> list[Turn]:
    """Who is given the next `many` places, in order; then the others with one each, to fill in."""
    standing: dict[str, list[Lane]] = {}
    for lane in lanes:
        if lane.vtime is not None:
            standing.setdefault(lane.queue, []).append(lane)
    bases = [_base(lane, standing.get(lane.queue, ())) for lane in lanes]
    least: dict[str, float] = {}
    for lane, base in zip(lanes, bases, strict=True):
        least[lane.queue] = min(base, least.get(lane.queue, base))
    starts = [
        base - least[lane.queue] - lane.priority * ageing
        for lane, base in zip(lanes, bases, strict=True)
    ]
    # Of two that are level, who has just come in is first: he would be compared anew every time.
    line = [
        (start, lanes[place].vtime is not None, lanes[place].rank, place)
        for place, start in enumerate(starts)
    ]
    heapify(line)
    given = dict[int, int]()
    for _ in range(many if line else 0):
        _, stands, rank, place = line[0]
        given[place] = given.get(place, 0) + 1
        next = starts[place] + given[place] * _pace(lanes[place])
        heapreplace(line, (next, stands, rank, place))
    others = sorted(one for one in line if one[-1] not in given)
    return [
        Turn(lane.queue, lane.name, given.get(place, 1), starts[place], _pace(lane), bases[place])
        for place in (*given, *(one[-1] for one in others))
        for lane in (lanes[place],)
    ]


def _pace(lane: Lane) -> float:
    return lane.cost / lane.weight


def _base(lane: Lane, standing: Sequence[Lane]) -> float:
    """Where it stands; one that comes in begins beside who is least ahead.

    Of those that are as urgent as it is: others may be far behind for as long as they are not.
    """
    if lane.vtime is not None:
        return lane.vtime
    urgent = [one for one in standing if one.priority >= lane.priority]
    return min((one.vtime or 0.0 for one in urgent or standing), default=lane.floor)
