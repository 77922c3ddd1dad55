"""What a pool child does with signals: a shutdown is told by a flag, not by dying."""

import os
import signal
import threading
from types import FrameType

from billiard.process import current_process

from taskplatform.executor.child import Child
from taskplatform.executor.slot import SHIFT


def is_forked() -> bool:
    """Whether this process is a pool child, and not the worker itself."""
    return bool(current_process().name != "MainProcess")


def spare_shifts(child: Child) -> None:
    """Take a SIGTERM to the whole process group without losing the body that runs.

    A service manager that signals the group would end pool children in the middle of a body. The
    worker is told too, and its children end by the shared flag; so a child that is in a shift
    only notes that it was asked to go.
    """
    if not is_forked() or threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)

    def on_term(number: int, frame: FrameType | None) -> None:
        if child.table.cold:
            # The worker has decided to end at once; its supervisor hands the work back.
            os._exit(0)
        if child.slot.state == SHIFT:
            child.leaving = True
        elif callable(before):
            before(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, on_term)
