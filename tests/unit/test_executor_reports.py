"""What a body reports, on its way into shared memory."""

import os
from collections.abc import Iterator
from math import inf, isnan, nan

import pytest

from taskplatform.errors import TimeLimitExceeded
from taskplatform.executor.reports import Reporter
from taskplatform.executor.slot import Slot
from taskplatform.executor.slots import SlotTable


@pytest.fixture
def slot() -> Iterator[Slot]:
    """A child's slot."""
    table = SlotTable.create()
    yield table.allocate()
    os.close(table.fd)


def begun(slot: Slot, silence: float | None = None) -> Reporter:
    """The reporter of body (1, 2), which runs."""
    reporter = Reporter(slot)
    reporter.begin(1, 2, slot.begin(1, 2, 0), silence)
    return reporter


def test_a_body_that_reports_nothing_costs_nothing(slot: Slot) -> None:
    begun(slot)

    assert slot.report() is None


def test_the_last_report_counts(slot: Slot) -> None:
    reporter = begun(slot)
    reporter.progress(1, 10)
    reporter.progress(2, 10)
    reporter.heartbeat()

    report = slot.report()
    assert report is not None
    assert (report.work_id, report.epoch, report.done, report.total) == (1, 2, 2.0, 10.0)
    assert reporter.end() == (2.0, 10.0)


@pytest.mark.parametrize("unknown", [nan, inf])
def test_what_is_not_finite_is_not_known(slot: Slot, unknown: float) -> None:
    """A database or a page can do nothing with it."""
    reporter = begun(slot)
    reporter.progress(3, unknown)

    report = slot.report()
    assert report is not None
    assert report.done == 3.0
    assert isnan(report.total)
    assert reporter.end() == (3.0, None)


def test_a_report_after_the_end_is_ignored(slot: Slot) -> None:
    """A thread that a body left behind must not report for the body after it."""
    left_behind = begun(slot)
    left_behind.progress(1, 2)
    left_behind.end()
    slot.begin(3, 4, 0)

    left_behind.progress(2, 2)

    report = slot.report()
    assert report is not None
    assert (report.work_id, report.done) == (1, 1.0)


def test_a_report_ends_the_silence(slot: Slot) -> None:
    reporter = begun(slot, silence=60)

    assert 59 < reporter.left() <= 60
    report = slot.report()
    assert report is not None
    assert report.silence_ns == 60 * 10**9


def test_a_silence_that_is_too_long_is_said(slot: Slot) -> None:
    reporter = begun(slot, silence=1e-9)

    with pytest.raises(TimeLimitExceeded, match="reported nothing"):
        reporter.left()
