"""The supervisor process; started by its worker, ends with it."""

import logging
import signal
import sys
from uuid import UUID

import orjson

from taskplatform.celery.app import app
from taskplatform.executor.slots import SlotTable
from taskplatform.supervisor.loop import About, Supervisor


def main(argument: str) -> None:
    """Supervise the worker that `argument`, a JSON object, describes."""
    about = orjson.loads(argument)
    # A signal to the whole process group is for the worker; this process ends after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(
        level=about.pop("loglevel"),
        format="[%(asctime)s: %(levelname)s/supervisor] %(message)s",
    )
    table = SlotTable(about.pop("fd"))
    about["id"] = UUID(about["id"])
    app.loader.import_default_modules()
    Supervisor(About(**about), table, app).run()


if __name__ == "__main__":
    main(sys.argv[1])
