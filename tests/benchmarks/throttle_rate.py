"""How many decisions a throttle makes in a second: `python -m tests.benchmarks.throttle_rate`.

Sessions of several processes ask without a pause, as pool children do: on one key, where all wait
for each other, and on a thousand. With room for all, and with none.
"""

import sys
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import monotonic

from taskplatform.embedded import endpoints, erase
from taskplatform.storage.connection import connect
from taskplatform.storage.migrations import upgrade
from taskplatform.storage.throttles import Grant, Wanted, ask

SECONDS, PROCESSES, SESSIONS, KEYS = 4.0, 2, 4, 1_000
LIMIT = 100_000


def asked(
    url: str, name: str, keys: int, limit: int, seconds: float, first: int
) -> tuple[int, int]:
    """Ask in several threads for so long; how many were granted, and how many not."""
    answers: list[bool] = []
    until = monotonic() + seconds

    def insist(number: int) -> None:
        with connect(url) as session:
            while monotonic() < until:
                number = (number * 7919 + 1) % keys
                wanted = [Wanted(name, f"k{number}", limit, 60.0)]
                answers.append(isinstance(ask(session, wanted), Grant))

    threads = [threading.Thread(target=insist, args=(first + n,)) for n in range(SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers.count(True), answers.count(False)


def rate(url: str, name: str, keys: int, limit: int, seconds: float = SECONDS) -> float:
    """Decisions per second of all processes together."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        # Imports and connections are not what is measured.
        list(pool.map(_warm, range(PROCESSES)))
        jobs = [
            pool.submit(asked, url, name, keys, limit, seconds, 1000 * n) for n in range(PROCESSES)
        ]
        answers = [job.result() for job in jobs]
    granted, refused = (sum(column) for column in zip(*answers, strict=True))
    print(
        f"{name:>12}: {(granted + refused) / seconds:8,.0f} decisions/s on {keys:,} key(s), "
        f"{granted / seconds:,.0f} granted and {refused / seconds:,.0f} refused",
        flush=True,
    )
    return float((granted + refused) / seconds)


def _warm(_: int) -> None:
    threading.Event().wait(0.2)


def main(seconds: float = SECONDS) -> None:
    """Measure on servers of its own."""
    home = Path(tempfile.mkdtemp(prefix="taskplatform-throttle-"))
    try:
        url = endpoints(home).database_url
        upgrade(url)
        rate(url, "one-key", 1, LIMIT, seconds)
        rate(url, "many-keys", KEYS, LIMIT, seconds)
        rate(url, "used-up", 1, 10, seconds)
    finally:
        erase(home)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
