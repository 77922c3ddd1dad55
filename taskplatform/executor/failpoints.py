"""Failpoints: places in a step's life at which a process can be told to die, for tests of recovery.

    b1  told of work, nothing claimed        b5  committed, and not yet known to be
    b2  claimed, no body started             b6  known to be, nothing done that follows from it
    b3  the body is about to start           b7  the same after the last step of a run
    b4  the body has ended, nothing is sent

TASKPLATFORM_FAILPOINT=b4:kill kills each process that passes b4; b4:kill@FOLDER only the one that
can take the file FOLDER/b4 away, which it renames to b4.PID.TIME. Several are separated by commas.
Actions: kill, stop (until somebody continues the process), exit, raise.

Where no failpoint is set nothing of this is loaded: it is put around what there is, when a child
is made.
"""

import inspect
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from time import monotonic_ns
from typing import Any

from taskplatform.core import registry
from taskplatform.core.step import Step
from taskplatform.errors import SettingsError
from taskplatform.executor import child as child_module
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.executor.desk import Desk, Seated
from taskplatform.settings import FAILPOINT
from taskplatform.storage.claim import Claimed
from taskplatform.storage.settlement import End, Settlement

POINTS = ("b1", "b2", "b3", "b4", "b5", "b6", "b7")
_ACTIONS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit": lambda: os._exit(1),
}


class Reached(Exception):
    """What the action `raise` raises."""


@dataclass(frozen=True, slots=True)
class Failpoint:
    """What to do at a point; `folder` has the files that allow it, None: do it each time."""

    point: str
    action: str
    folder: Path | None

    def reach(self) -> None:
        """Do it, if it is allowed now. Raises Reached if that is the action."""
        if self.folder is not None:
            try:
                token = f"{self.point}.{os.getpid()}.{monotonic_ns()}"
                os.rename(self.folder / self.point, self.folder / token)
            except FileNotFoundError:
                return
        if self.action == "raise":
            raise Reached(f"failpoint {self.point}")
        _ACTIONS[self.action]()


def parse(text: str) -> dict[str, Failpoint]:
    """Read the variable's value; by point. Raises SettingsError."""
    found = {}
    for part in text.split(","):
        point, _, rest = part.strip().partition(":")
        action, _, folder = rest.partition("@")
        if point not in POINTS or action not in (*_ACTIONS, "raise"):
            raise SettingsError(
                f"{FAILPOINT}: {part.strip()!r} is no failpoint: give POINT:ACTION or "
                f"POINT:ACTION@FOLDER, of {', '.join(POINTS)} and {', '.join(_ACTIONS)}, raise"
            )
        found[point] = Failpoint(point, action, Path(folder) if folder else None)
    return found


_armed = False


def arm(text: str) -> None:
    """Put the failpoints around what this process executes, once. Raises SettingsError."""
    global _armed
    if _armed:
        return
    _armed = True
    points = parse(text)

    def reach(point: str) -> None:
        if point in points:
            points[point].reach()

    _around_claims(reach)
    _around_bodies(reach)
    _around_commits(reach)


Reach = Callable[[str], None]


def _around_claims(reach: Reach) -> None:
    claim, claim_run = Child.claim, Child.claim_run

    def claim_between(child: Child, queues: Sequence[str]) -> tuple[list[Claimed], bool]:
        reach("b1")
        claimed, more = claim(child, queues)
        if claimed:
            reach("b2")
        return claimed, more

    def claim_run_between(child: Child, run_id: Any) -> list[Claimed]:
        reach("b1")
        claimed = claim_run(child, run_id)
        if claimed:
            reach("b2")
        return claimed

    claim_for = Desk.claim_for

    def claim_for_between(
        desk: Desk, many: int, queues: Sequence[str]
    ) -> tuple[list[Seated], bool]:
        reach("b1")
        claimed, more = claim_for(desk, many, queues)
        if claimed:
            reach("b2")
        return claimed, more

    Desk.claim_for = claim_for_between  # type: ignore[method-assign, assignment]
    Child.claim = claim_between  # type: ignore[method-assign, assignment]
    Child.claim_run = claim_run_between  # type: ignore[method-assign, assignment]


def _around_bodies(reach: Reach) -> None:
    def between(function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def later(**arguments: Any) -> Any:
                reach("b3")
                value = await function(**arguments)
                reach("b4")
                return value

            return later

        @wraps(function)
        def now(**arguments: Any) -> Any:
            reach("b3")
            value = function(**arguments)
            reach("b4")
            return value

        return now

    for declaration in registry.all():
        for step in declaration.steps:
            _surround(step, between)


def _surround(step: Step, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    if step.has_body:
        step.surround(around)
    if step.compensation is not None:
        _surround(step.compensation, around)


def _around_commits(reach: Reach) -> None:
    settle, follow_up = vars(child_module)["settle"], Batch._follow_up

    def settle_and_not_know(*given: Any, **named: Any) -> set[int]:
        accepted: set[int] = settle(*given, **named)
        reach("b5")
        return accepted

    def follow_up_between(batch: Batch, committed: Sequence[Settlement]) -> None:
        for one in committed:
            reach("b7" if isinstance(one.then, End) else "b6")
        follow_up(batch, committed)

    vars(child_module)["settle"] = settle_and_not_know
    Batch._follow_up = follow_up_between  # type: ignore[method-assign, assignment]
