"""What a fault excuses: an execution that nobody recorded, and one start after a long sleep."""

from taskplatform.verify.judge.history import Execution, Fault, History

# Between a process and the database, so that its lease may run out though it lives.
_DATABASE = {
    "restart-postgres",
    "pause-postgres",
    "cut-postgres",
    "hole-postgres",
    "slow-postgres",
    "cut-after-commit",
    "end-sessions",
    "exhaust-connections",
    "only-read",
    "full-disk",
}
# So long after its last renewal a lease holds, and a body may start whose result is refused.
_LEASE = 15_000_000_000
# So long one holds at least that was renewed in time before the fault.
_RENEWED = 10_000_000_000
# So long a body that has ended may be on its way to its commit when its process is hit.
_UNCOMMITTED = 2_000_000_000
_NEVER = 2**63
# No check can be one with the first instruction of a body.
_WAKING = 100_000_000


class Excuses:
    """The faults of a history, by whom they hit; counts what they excused."""

    def __init__(self, history: History) -> None:
        self.executions = 0
        self.starts = 0
        self._by_pid: dict[int, list[Fault]] = {}
        for fault in history.faults:
            for pid in fault.pids:
                self._by_pid.setdefault(pid, []).append(fault)

    def cut_off(self, one: Execution) -> bool:
        """Whether an execution that nobody recorded was hit, or could not be committed."""
        # Without an end it was cut off, and nobody saw when.
        ended = _NEVER if one.end is None else one.end
        excused = any(
            fault.begin <= ended + _UNCOMMITTED and _until(fault) >= one.start
            for fault in self._by_pid.get(one.pid, ())
        )
        self.executions += excused
        return excused

    def holds_until(self, one: Execution) -> int:
        """Until when an execution certainly has its slots: its end, its death, or its lease's."""
        hits = [fault for fault in self._by_pid.get(one.pid, ()) if fault.end >= one.start]
        lasting = [fault for fault in hits if _may_outlast(fault)]
        until = [fault.begin for fault in hits if fault not in lasting]
        until += [fault.begin + _RENEWED for fault in lasting]
        # What has no end and was not hit has raised, nobody saw when.
        ended = min(until, default=one.start) if one.end is None else min(one.end, *until, _NEVER)
        return max(ended, one.start)

    def woke_up(self, one: Execution, committed: int) -> bool:
        """Whether a body started after its commit because its process had slept before it."""
        excused = one.epoch < committed and any(
            fault.kind.startswith(("pause", "failpoint"))
            and fault.begin <= one.start <= fault.end + _WAKING
            for fault in self._by_pid.get(one.pid, ())
        )
        self.starts += excused
        return excused


def _may_outlast(fault: Fault) -> bool:
    return fault.kind.startswith("pause") or fault.kind in _DATABASE


def _until(fault: Fault) -> int:
    """Until when somebody who was hit may start what will be on no record."""
    until = fault.end + _WAKING
    return max(until, fault.begin + _LEASE) if fault.kind in _DATABASE else until
