"""The fair order, against a slow model that is obviously right."""

import math

from hypothesis import given
from hypothesis import strategies as some

from taskplatform.core.fairness import Lane, Turn, turns

AGEING = 60.0
_seconds = some.floats(0.0, 1000.0)


@some.composite
def lanes(draw: some.DrawFn) -> list[Lane]:
    names = draw(some.lists(some.tuples(some.sampled_from("qr"), some.text("abc")), unique=True))
    return [
        Lane(
            queue,
            name,
            rank=draw(some.integers(0, 3)),
            priority=draw(some.integers(-3, 3)),
            cost=draw(some.sampled_from([0.001, 1.0, 30.0])),
            weight=draw(some.sampled_from([0.5, 1.0, 3.0])),
            vtime=draw(some.none() | _seconds),
            floor=draw(_seconds) if draw(some.booleans()) else 0.0,
        )
        for queue, name in names
    ]


def model(lanes: list[Lane], many: int) -> list[tuple[str, str]]:
    """One place after the other: look at everybody, and take who is least ahead."""
    ahead: dict[Lane, float] = {}
    for one in lanes:
        others = [two for two in lanes if two.queue == one.queue and two.vtime is not None]
        as_urgent = [two for two in others if two.priority >= one.priority] or others
        if one.vtime is not None:
            ahead[one] = one.vtime
        elif as_urgent:
            ahead[one] = min(two.vtime or 0.0 for two in as_urgent)
        else:
            ahead[one] = one.floor
    least = {one.queue: min(ahead[two] for two in lanes if two.queue == one.queue) for one in lanes}
    used = dict.fromkeys(lanes, 0)
    places = []
    for _ in range(many if lanes else 0):
        best = min(
            lanes,
            key=lambda one: (
                ahead[one]
                - least[one.queue]
                - one.priority * AGEING
                + used[one] * (one.cost / one.weight),
                one.vtime is not None,
                one.rank,
                lanes.index(one),
            ),
        )
        used[best] += 1
        places.append((best.queue, best.name))
    return places


def unfolded(made: list[Turn], many: int) -> list[tuple[str, str]]:
    """The places in the order in which the claim has them."""
    every = [
        (one.start + one.pace * place, number, (one.queue, one.name))
        for number, one in enumerate(made)
        for place in range(one.many)
    ]
    return [name for _, _, name in sorted(every)[:many]]


@given(lanes(), some.integers(1, 40))
def test_the_order_is_that_of_the_model(lanes: list[Lane], many: int) -> None:
    """Q14: who gets how many of the next places, and all the others stand behind them."""
    made = turns(lanes, many, AGEING)
    expected = model(lanes, many)

    for one in lanes:
        (turn,) = [turn for turn in made if (turn.queue, turn.name) == (one.queue, one.name)]
        assert turn.many == max(1, expected.count((one.queue, one.name)))
    # Sums in another order differ in the last digit, which tells nothing apart but ties.
    first = {name: expected.index(name) for name in set(expected)}
    order = [(one.queue, one.name) for one in made if (one.queue, one.name) in first]
    assert order == sorted(first, key=lambda name: first[name])
    assert [(one.queue, one.name) for one in made[: len(first)]] == order


@given(some.lists(some.floats(0.1, 10.0), min_size=2, max_size=6), some.data())
def test_shares_are_those_of_the_weights(weights: list[float], data: some.DataObject) -> None:
    """Q14: of what has been used, however dear the bodies of each are, to within one of them."""
    costs = [data.draw(some.floats(0.1, 5.0)) for _ in weights]
    used = [0.0] * len(weights)
    for _ in range(400):
        now = [
            Lane("q", str(one), 0, 0, costs[one], weights[one], used[one] / weights[one])
            for one in range(len(weights))
        ]
        place = int(turns(now, 1, AGEING)[0].name)
        used[place] += costs[place]

    by_weight = [spent / weight for spent, weight in zip(used, weights, strict=True)]
    dearest = max(cost / weight for cost, weight in zip(costs, weights, strict=True))
    assert max(by_weight) - min(by_weight) <= dearest * (1 + 1e-9)


def test_a_tenant_that_comes_in_waits_for_nobodys_backlog() -> None:
    """Q14: it begins beside who is least ahead, with nothing saved up and nothing owed."""
    busy = Lane("q", "a", 1, 0, 1.0, vtime=5000.0)
    new = Lane("q", "b", 2, 0, 1.0)

    assert unfolded(turns([busy, new], 4, AGEING), 4) == [("q", "b"), ("q", "a")] * 2
    assert turns([busy, new], 1, AGEING)[0].base == 5000.0


def test_priority_is_a_lead_in_seconds_of_worker_time() -> None:
    """Q13, Q14: urgent work goes first whoever's it is, and nobody starves behind it."""
    usual = Lane("q", "a", 1, 0, 1.0, vtime=0.0)

    def first(vtime: float) -> str:
        return turns([usual, Lane("q", "b", 2, 300, 1.0, vtime=vtime)], 1, AGEING)[0].name

    assert first(vtime=300 * AGEING - 1) == "b"
    assert first(vtime=300 * AGEING + 1) == "a"


def test_who_is_urgent_begins_beside_the_urgent() -> None:
    """Q14: not beside somebody who is far behind because he is not."""
    starved = Lane("q", "a", 0, 0, 1.0, vtime=0.0)
    urgent = Lane("q", "b", 1, 300, 1.0, vtime=900.0)
    new = Lane("q", "c", 2, 300, 1.0)

    made = turns([starved, urgent, new], 10, AGEING)

    assert {one.name: one.many for one in made} == {"b": 5, "c": 5, "a": 1}
    assert math.isclose(next(one.base for one in made if one.name == "c"), 900.0)
