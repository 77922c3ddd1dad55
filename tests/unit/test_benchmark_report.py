"""What the benchmarks say of their rounds, and that nothing is left out in silence."""

import xml.etree.ElementTree as ElementTree

import pytest

from tests.benchmarks import bars, contenders
from tests.benchmarks.figures import FIGURES
from tests.benchmarks.marks import VARIABLE, Marks, descriptor, mark
from tests.benchmarks.measures import MEASURES
from tests.benchmarks.report.document import document
from tests.benchmarks.report.plot import plot
from tests.benchmarks.report.table import table
from tests.benchmarks.session import Found
from tests.benchmarks.summary import Spread, Summary

TITLES = {"platform": "ours", "chain": "Celery <chain>"}


@pytest.fixture
def summary() -> Summary:
    """Three rounds, of which the second was slow for both, and one turn went wrong."""
    made = Summary()
    made.add(
        {
            "platform": [Found({"five.bulk": rate}) for rate in (4000.0, 1000.0, 3900.0)],
            "chain": [Found({"five.bulk": rate}) for rate in (80.0, 20.0, 100.0)],
            "dbos": [Found({"five.bulk": 40.0}), "Broken: no", Found({"five.bulk": 40.0})],
        }
    )
    return made


def test_a_ratio_is_formed_in_each_round(summary: Summary) -> None:
    """Q20: a slow minute slows both sides, and not their ratio."""
    assert summary.ratio("five.bulk", "platform", "chain") == Spread(50.0, 39.0, 50.0)
    assert summary.spread("five.bulk", "chain") == Spread(80.0, 20.0, 100.0)


def test_a_turn_that_went_wrong_is_left_out_and_said(summary: Summary) -> None:
    """Q20: its round counts for the others only."""
    assert summary.ratio("five.bulk", "platform", "dbos") == Spread(98.75, 97.5, 100.0)
    assert summary.problems == {"dbos": ["Broken: no"]}


def test_percentiles_are_of_the_samples_of_all_rounds() -> None:
    """Q20: the worst of three rounds is the worst, and its p50 is not a median of medians."""
    summary = Summary()
    samples = ([1.0] * 9, [2.0], [3.0, 90.0])
    summary.add({"platform": [Found(samples={"lone.done": list(one)}) for one in samples]})
    assert summary.value("lone.done.p50", "platform") == 1.0
    assert summary.value("lone.done.worst", "platform") == 90.0
    assert summary.spread("lone.done.worst", "platform") == Spread(2.0, 1.0, 90.0)


def test_bars_are_judged_where_there_is_a_figure(summary: Summary) -> None:
    """Q20: missed, met, or better than the goal; nothing is judged that was not measured."""
    judged = {(one.bar.figure, one.bar.against): one for one in bars.judge(summary)}
    assert set(judged) == {("five.bulk", "chain"), ("five.bulk", "dbos")}
    met = judged["five.bulk", "chain"]
    assert (met.got, met.met, met.goal_met) == (50.0, True, False)
    low = bars.Bar("five.bulk", 60, 100, "chain")
    assert not low.reached(50.0, low.bar)
    small = bars.Bar("idle.cpu", 1, 0.3, at_most=True)
    assert small.reached(0.5, small.bar)
    assert not small.reached(0.5, small.goal)


def test_every_bar_is_of_a_figure_and_a_contender() -> None:
    """Q20: a misspelt bar would never be judged."""
    known = {*contenders.NAMES, *MEASURES["history"].databases, None}
    for bar in bars.BARS:
        assert bar.figure in FIGURES
        assert {bar.against, bar.ours} <= known


def test_the_reports_show_what_was_measured(summary: Summary) -> None:
    """Q20: the same figures as a table, as JSON and as a plot."""
    assert "| 50.0 (39.0-50.0)x" in table(summary, TITLES)
    found = document(summary, bars.judge(summary), {"quick": True})
    chain = found["figures"]["five.bulk"]["contenders"]["chain"]
    assert chain["rounds"] == [80.0, 20.0, 100.0]
    assert chain["ratio"]["median"] == 50.0
    drawn = ElementTree.fromstring(plot(summary, TITLES))
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "Celery <chain>" in texts
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}rect"))) == 3


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q20: a contender that cannot be measured has a reason."""
    assert contenders.absent("chain") is None
    monkeypatch.setitem(contenders._CONTENDERS, "ghost", ("ghost", "Ghost"))
    assert contenders.absent("ghost") == "tests.benchmarks.contenders.ghost is not installed"


@pytest.mark.parametrize(
    ("executed", "said"),
    [
        ([(0, 0), (0, 1), (1, 0), (1, 1)], None),
        ([(0, 0), (0, 1), (1, 0)], "1 executions missing, 0 repeated, 0 unknown"),
        ([(0, 0), (0, 1), (1, 0), (1, 1), (1, 1)], "0 executions missing, 1 repeated, 0 unknown"),
        ([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)], "0 executions missing, 0 repeated, 1 unknown"),
    ],
)
def test_executions_are_counted(
    executed: list[tuple[int, int]], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G4: two runs of two steps; one too few, one too many, one of nobody."""
    marks = Marks.create()
    try:
        monkeypatch.setenv(VARIABLE, str(marks.path))
        descriptor.cache_clear()
        for run, step in executed:
            mark(run, step)
        problem = marks.problem(2, 2)
        assert problem == (said and f"of 2 runs with 2 step(s): {said}")
        assert marks.count() == len(executed)
        assert marks.first_ns(0, 1) > marks.first_ns(0, 0)
    finally:
        descriptor.cache_clear()
        marks.remove()
