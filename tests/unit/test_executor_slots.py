"""The table of slots that a worker, its children and its supervisor share."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic_ns

import pytest

from taskplatform.executor import slot as slot_words
from taskplatform.executor import slots
from taskplatform.executor.notes import Note, Report
from taskplatform.executor.slot import FREE, IDLE, SHIFT
from taskplatform.executor.slots import SlotTable


@pytest.fixture
def table() -> Iterator[SlotTable]:
    """An empty table, closed afterwards."""
    table = SlotTable.create()
    yield table
    os.close(table.fd)


def in_a_child(act: Callable[[], None]) -> int:
    """Fork, do it there, and leave without cleaning up; the pid."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def ended_well(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_slot_begins_empty(table: SlotTable) -> None:
    slot = table.allocate()

    assert slot.pid == os.getpid()
    assert (slot.state, slot.holder, slot.batch, slot.refused) == (FREE, 0, 0, 0)
    assert not slot.lease_holds
    assert (slot.revoke, slot.cancelled, slot.interrupt) == (False, False, False)
    assert slot.note() is None
    assert [one.number for one in table.taken()] == [slot.number]


def test_fields_do_not_run_into_each_other(table: SlotTable) -> None:
    """Each is written to its largest, and the others stay as they were; slots as well."""
    first, slot, last = (table.allocate() for _ in range(3))
    largest = 2**63 - 1
    slot.state = SHIFT
    slot.holder = largest
    slot.lease_until_ns = largest
    slot.batch = largest
    slot.refused = largest
    slot.begin(largest, largest, largest)
    slot.revoke = slot.cancelled = slot.interrupt = True

    note = slot.note()
    assert note is not None
    assert (note.work_id, note.epoch, note.hard_deadline_ns) == (largest, largest, largest)
    assert 0 < note.started_ns <= monotonic_ns()
    assert (slot.pid, slot.state, slot.holder) == (os.getpid(), SHIFT, largest)
    assert (slot.batch, slot.refused, slot.lease_until_ns) == (largest, largest, largest)
    assert slot.lease_holds
    for other in (first, last):
        assert (other.holder, other.batch, other.note()) == (0, 0, None)
        assert (other.revoke, other.cancelled, other.interrupt) == (False, False, False)
    slot.revoke = False
    assert slot.cancelled
    assert slot.interrupt


def test_the_end_of_a_body_takes_its_request_with_it(table: SlotTable) -> None:
    """G10: that one body is not wanted says nothing of the next."""
    slot = table.allocate()
    slot.begin(1, 2, 3)
    slot.cancelled = slot.revoke = True
    slot.end()

    assert slot.note() is None
    assert not slot.cancelled
    assert slot.revoke


def test_header_flags(table: SlotTable) -> None:
    """F10: a shutdown is seen by all, cold or warm."""
    seen = []
    for name, value in (("messages_wait", True), ("cold", True), ("cold", False)):
        setattr(table, name, value)
        seen.append(table.shutting_down)
    assert seen == [False, True, False]

    table.grace_ends_ns = 2**62

    assert (table.shutting_down, table.cold, table.messages_wait) == (True, False, True)
    assert table.grace_ends_ns == 2**62


def test_a_second_opening_of_the_memory_sees_the_same(table: SlotTable) -> None:
    """The supervisor opens the table by its descriptor."""
    slot = table.allocate()
    slot.holder = 7
    other = SlotTable(table.fd)

    (seen,) = other.taken()
    assert (seen.pid, seen.holder) == (os.getpid(), 7)
    seen.revoke = True
    assert slot.revoke


def test_a_slot_is_used_again_and_starts_clean(table: SlotTable) -> None:
    """Children are recycled by the thousand; a table has 1,024 places."""
    table.allocate()
    slot = table.allocate()
    slot.begin(1, 2, 3)
    slot.holder = slot.lease_until_ns = 5
    slot.interrupt = slot.revoke = True
    slot.reset(0)
    third = table.allocate()

    assert third.number == slot.number
    assert (third.holder, third.note(), third.lease_until_ns) == (0, None, 0)
    assert (third.revoke, third.interrupt) == (False, False)


def test_freed_slots_do_not_hide_those_behind_them(table: SlotTable) -> None:
    """The search for owners ends at the first place that nobody ever had, not at a freed one."""
    made = [table.allocate() for _ in range(4)]
    for slot in made[:3]:
        slot.reset(0)

    assert [slot.number for slot in table.taken()] == [made[3].number]


def test_a_full_table_says_so(table: SlotTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "SLOTS", 3)
    for _ in range(3):
        table.allocate()

    with pytest.raises(RuntimeError, match="more than 3 pool children"):
        table.allocate()


def test_processes_and_threads_take_a_slot_each(table: SlotTable) -> None:
    """Pools fork all their children at once, and a threads pool asks from all its threads."""
    ready, go = os.pipe()

    def child() -> None:
        os.close(go)
        os.read(ready, 1)
        table.allocate()

    pids = [in_a_child(child) for _ in range(24)]
    os.close(go)
    os.close(ready)
    with ThreadPoolExecutor(8) as pool:
        mine = [slot.number for slot in pool.map(lambda _: table.allocate(), range(8))]
    assert [ended_well(pid) for pid in pids] == [True] * len(pids)

    taken = table.taken()
    assert len(taken) == 32
    assert len(set(mine)) == 8
    assert sorted(slot.pid for slot in taken if slot.pid != os.getpid()) == sorted(pids)


def test_a_reader_never_sees_half_a_note(table: SlotTable) -> None:
    """A kill at the hard limit compares the whole note: a mix would kill the wrong body."""
    slot = table.allocate()

    def write() -> None:
        number, until = 1, time.monotonic() + 60
        while not slot.revoke and time.monotonic() < until:
            slot.begin(number, number, number)
            if number % 3 == 0:
                slot.end()
            number += 1

    pid = in_a_child(write)
    seen = set[int]()
    while len(seen) < 200:
        if (note := slot.note()) is not None:
            assert note.work_id == note.epoch == note.hard_deadline_ns
            seen.add(note.work_id)
    slot.revoke = True
    assert ended_well(pid)


def test_a_number_is_written_in_one_piece(table: SlotTable) -> None:
    """A sequence number between two of its bytes would look even while a note is written."""
    slot = table.allocate()
    one, other = 0x00FF_00FF_00FF, 0x0100_0100_0100
    slot._set(slot_words._SEQUENCE, one)

    def write() -> None:
        for _ in range(200_000):
            slot._set(slot_words._SEQUENCE, other)
            slot._set(slot_words._SEQUENCE, one)
        slot._set(slot_words._SEQUENCE, 1)

    pid = in_a_child(write)
    seen = set[int]()
    while (number := slot._get(slot_words._SEQUENCE)) != 1:
        seen.add(number)
    assert ended_well(pid)
    assert seen <= {one, other}


def test_a_writer_that_died_in_the_middle_leaves_no_note(table: SlotTable) -> None:
    """F1: the body had not started, or had ended; and the next owner of the slot can write."""
    slot = table.allocate()
    slot.begin(1, 2, 3)
    slot._set(slot_words._SEQUENCE, slot._get(slot_words._SEQUENCE) + 1)

    assert slot.note() is None

    slot.reset(os.getpid())
    slot.begin(4, 5, 6)
    note = slot.note()
    assert isinstance(note, Note)
    assert note.work_id == 4


def test_a_killed_child_leaves_its_note_behind(table: SlotTable) -> None:
    """F1: what it was doing when it died is known from outside."""
    ready, go = os.pipe()

    def child() -> None:
        slot = table.allocate()
        slot.state = SHIFT
        slot.begin(11, 12, 0)
        os.write(go, b"x")
        signal.pause()

    pid = in_a_child(child)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    os.close(go)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    (slot,) = table.taken()
    note = slot.note()
    assert note is not None
    assert (slot.pid, slot.state, note.work_id, note.epoch) == (pid, SHIFT, 11, 12)
    slot.state = IDLE
    assert slot.state == IDLE


def test_the_beginning_of_a_shift_is_heard(table: SlotTable) -> None:
    """M10: nobody has to look for it all the time; also by another process."""
    assert table.wake is not None
    other = SlotTable(os.dup(table.fd), os.dup(table.wake))
    slot = table.allocate()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(table.wake)

    slot.state = SHIFT
    slot.state = SHIFT
    assert os.eventfd_read(table.wake) == 1
    slot.state = IDLE
    with pytest.raises(BlockingIOError):
        os.eventfd_read(table.wake)
    other.taken()[0].state = SHIFT
    assert os.eventfd_read(table.wake) == 1


def test_a_report_is_kept_beside_the_note(table: SlotTable) -> None:
    """It names the body that it is of, and a child that ended leaves it behind."""
    slot = table.allocate()
    assert slot.report() is None
    started = slot.begin(1, 2, 0)
    report = Report(1, 2, started, started + 5, 10, 2.5, 1e300)

    slot.write_report(report)

    assert slot.report() == report
    assert slot.note() == Note(1, 2, started, 0)
    slot.end()
    assert slot.report() == report


def test_a_report_that_was_cut_off_is_none_until_the_next(table: SlotTable) -> None:
    """The alarm may raise in the middle of writing it; the note is not touched by that."""
    slot = table.allocate()
    started = slot.begin(1, 2, 0)
    slot._set(slot_words._REPORT_SEQUENCE, 1)

    assert slot.report() is None
    assert slot.note() is not None
    slot.write_report(Report(1, 2, started, 1, 0, 1.0, 2.0))
    assert slot.report() is not None


def test_work_waits_until_somebody_takes_it_in_hand(table: SlotTable) -> None:
    """What the supervisor may take back, and since when."""
    slot = table.allocate()
    assert slot.waiting == (0, 0)
    before = monotonic_ns()
    slot.wait(7)
    since, work_id = slot.waiting
    assert before <= since <= monotonic_ns()
    assert work_id == 7
    slot.take_in_hand()
    assert slot.waiting == (0, 0)


def test_a_thousand_slots_are_told_apart(table: SlotTable) -> None:
    """W18: also where one of them was given back, and taken again."""
    slots = [table.allocate() for _ in range(1000)]
    assert [one.number for one in table.taken()] == list(range(1000))
    slots[500].reset(0)
    assert len(table.taken()) == 999
    assert table.allocate().number == 500
    for slot in slots:
        slot.holder = slot.number + 1
    assert [one.holder for one in SlotTable(table.fd).taken()] == list(range(1, 1001))
