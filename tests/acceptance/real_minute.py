"""Q22 literally: 30 runs at 10 a minute and 300 at 100 a minute, side by side, in real time.

It takes two minutes of waiting and little else, so it is started with the test session and runs
beside the other tests, as a process of its own; the test reads what it has to say. Prints JSON.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from taskplatform import enqueue_many
from taskplatform.client.session import call
from taskplatform.embedded import endpoints, erase
from taskplatform.storage.migrations import upgrade
from taskplatform.storage.workers import live
from tests.acceptance import limited
from tests.acceptance.called import called
from tests.acceptance.processes import wait_for, worker
from tests.chaos.outside import outside

LIMITS = {"ten-a-minute": (10, 60.0), "hundred-a-minute": (100, 60.0)}


def main(report: Path) -> None:
    """Execute the runs, on servers of its own, and say what the API saw."""
    home = Path(tempfile.mkdtemp(prefix="taskplatform-minute-"))
    log = home.with_suffix(".log")
    try:
        where = endpoints(home)
        upgrade(where.database_url)
        env = {
            "TASKPLATFORM_DATABASE_URL": where.database_url,
            "TASKPLATFORM_BROKER_URL": where.broker_url,
            "TASKPLATFORM_PIPELINES": "tests.acceptance.limited",
        }
        os.environ.update(env)
        log.touch()
        folder = report.parent
        with outside(folder) as api, worker(env, log, "-c", "4", name="minute"):
            wait_for(lambda: bool(call(lambda session, _: live(session))), 60, "supervised")
            runs = enqueue_many(limited.ten_a_minute, [{"api": api}] * 30)
            runs += enqueue_many(limited.hundred_a_minute, [{"api": api}] * 300)
            ended = [run.wait(timeout=200).status for run in runs]
        seen = called(folder, LIMITS)
        told = {
            name: {"over": one.over, "utilisation": one.utilisation, "text": str(one)}
            for name, one in seen.items()
        }
        finished = report.with_suffix(".part")
        finished.write_text(json.dumps({"ended": ended, "limits": told}))
        finished.rename(report)
    finally:
        erase(home)
        shutil.rmtree(home, ignore_errors=True)
        log.unlink(missing_ok=True)


def end_with(session: int) -> None:
    """Clean up and end when the test session has ended, of whatever."""
    while Path(f"/proc/{session}").exists():
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(int(sys.argv[2]),), daemon=True).start()
    main(Path(sys.argv[1]))
