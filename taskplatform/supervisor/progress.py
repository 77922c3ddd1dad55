"""Carrying what bodies report from shared memory to the database, a few times a second at most."""

from collections.abc import Sequence
from math import isnan
from time import monotonic, monotonic_ns

from taskplatform.executor.notes import Note, Report
from taskplatform.executor.slot import Slot
from taskplatform.storage.progress import Told, write
from taskplatform.supervisor.session import Database

WRITE_EVERY = 0.5


class Progress:
    """Writes what has changed since the last time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written: dict[int, Report] = {}
        self._next = 0.0

    def tick(self, notes: Sequence[tuple[Slot, Note]]) -> None:
        """Write the new reports of the running bodies, if it is time."""
        if not notes or monotonic() < self._next:
            return
        self._next = monotonic() + WRITE_EVERY
        new = {}
        for slot, note in notes:
            report = report_of(slot, note)
            if report is not None and str(report) != str(self._written.get(slot.number)):
                new[slot] = report
        told = [_told(slot, report) for slot, report in new.items()]
        # What was left out this time is told again.
        if told and self._database.ask(lambda connection: write(connection, told), 0) == len(told):
            self._written |= {slot.number: report for slot, report in new.items()}


def report_of(slot: Slot, note: Note) -> Report | None:
    """The last report of the body that is noted."""
    report = slot.report()
    if report is None or report[:3] != (note.work_id, note.epoch, note.started_ns):
        return None
    return report


def is_silent(slot: Slot, note: Note, grace: float = 0.0) -> bool:
    """Whether the body has reported nothing for longer than it may, and `grace` seconds more."""
    report = report_of(slot, note)
    if report is None or not report.silence_ns:
        return False
    return monotonic_ns() - report.beat_ns > report.silence_ns + grace * 1e9


def _told(slot: Slot, report: Report) -> Told:
    return Told(
        report.work_id,
        report.epoch,
        slot.holder,
        None if isnan(report.done) else report.done,
        None if isnan(report.total) else report.total,
        (monotonic_ns() - report.beat_ns) / 1e9,
    )
