"""What a claim may take at once, by how long steps took lately."""

from taskplatform.executor.costs import BUDGET, MOST, Costs


def test_nothing_is_known_of_a_step_that_was_never_executed() -> None:
    """Design: a claim takes 1 for a step of unknown duration."""
    costs = Costs()

    assert costs.known == {}
    assert costs.limit() == 1


def test_the_first_execution_is_believed() -> None:
    costs = Costs()
    costs.observe("p.a", 0.001)

    assert 0.001 <= costs.known["p.a"] < 0.0011
    assert costs.limit() == 4


def test_a_quick_step_moves_its_average_slowly() -> None:
    """One quick execution of a step that is usually slower does not fill a batch with it."""
    costs = Costs()
    costs.observe("p.a", 0.004)
    costs.observe("p.a", 0.0)

    assert 0.003 < costs.known["p.a"] < 0.004
    for _ in range(50):
        costs.observe("p.a", 0.0)
    assert costs.known["p.a"] < 0.0001


def test_a_slow_execution_is_believed_at_once() -> None:
    """Design: batches without hoarding: what turned slow is claimed alone from now on."""
    costs = Costs()
    for _ in range(50):
        costs.observe("p.a", 0.00001)
    costs.observe("p.a", 2.0)

    assert costs.known["p.a"] >= 2.0


def test_a_limit_follows_the_cheapest_step_and_has_an_end() -> None:
    """How many rows are looked at; the costs decide which of them are taken."""
    costs = Costs()
    costs.known = {"p.slow": 10.0, "p.quick": BUDGET / 10}
    assert costs.limit() == 10

    costs.known["p.free"] = 1e-9
    assert costs.limit() == MOST

    costs.known = {"p.slow": 10.0}
    assert costs.limit() == 1


def test_even_a_step_that_does_nothing_costs_something() -> None:
    costs = Costs()
    costs.observe("p.a", 0.0)

    assert costs.known["p.a"] > 0
    assert 1 < costs.limit() <= MOST
