"""What a claim takes at once is decided by what steps cost lately."""

from taskplatform.executor.costs import BUDGET, MOST, Costs
from taskplatform.executor.verdict import Room


def seasoned(seconds: float = 0.0001) -> Costs:
    costs = Costs()
    for _ in range(50):
        costs.observe("p.step", seconds)
    return costs


def test_an_unknown_step_is_claimed_alone() -> None:
    """Q9: nothing is known, nothing is hoarded."""
    assert Costs().limit() == 1


def test_cheap_steps_are_claimed_together_up_to_a_bound() -> None:
    """Q9: what fits the budget, and never more than is worth the locks."""
    assert 1 < seasoned().limit() < MOST
    assert seasoned(0.0).limit() <= MOST


def test_one_odd_execution_moves_little() -> None:
    """Q9: a body that lost its core for a while does not end batching."""
    costs = seasoned()
    before = costs.limit()
    costs.observe("p.step", 1.0)
    assert costs.limit() > before / 2


def test_a_step_that_became_slow_is_believed_at_the_second_time() -> None:
    """Q9: two slow ones in a row are the new cost."""
    costs = seasoned()
    costs.observe("p.step", 1.0)
    costs.observe("p.step", 1.0)
    assert costs.known["p.step"] >= 1.0
    assert costs.limit() == 1


def test_what_was_claimed_together_may_go_on_together() -> None:
    """Q9: a following step that is a little dearer puts nothing back."""
    cost = BUDGET / 50
    room = Room()
    assert all(room.admit(cost * 1.5) for _ in range(50))


def test_a_much_dearer_following_step_is_kept_alone() -> None:
    """Q9: the first is always kept, the others are put back for anybody."""
    room = Room()
    assert [room.admit(None) for _ in range(3)] == [True, False, False]
