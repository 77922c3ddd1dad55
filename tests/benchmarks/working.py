"""A contender's worker processes, from started to ended."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

from tests.benchmarks.contender import Contender
from tests.benchmarks.jobs import Shape
from tests.benchmarks.waiting import Broken

_STOP_SECONDS = 30.0


@contextmanager
def working(contender: Contender, shape: Shape) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the processes, wait until they are ready, yield them, and end them.

    What they said is shown if anything goes wrong.
    """
    with tempfile.TemporaryFile() as log:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for command in contender.workers(shape):
                processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            contender.started()
            yield processes
        except BaseException:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-20_000:])
            sys.stderr.flush()
            raise
        finally:
            _end(processes)


def alive(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """See whether all still live. Raises Broken."""
    for process in processes:
        if process.poll() is not None:
            raise Broken(f"{process.args!r} ended by itself with {process.returncode}")


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    # The last started first: a service ends before the server that calls it.
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
    deadline = monotonic() + _STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
