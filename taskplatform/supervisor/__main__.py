"""The supervisor process; started by its worker, ends with it."""

import logging
import signal
import sys
from uuid import UUID

import orjson

from taskplatform.celery.address import Address
from taskplatform.celery.bell import bell
from taskplatform.executor.slots import SlotTable
from taskplatform.supervisor.about import About
from taskplatform.supervisor.loop import Supervisor
from taskplatform.supervisor.sources import load


def main(told: bytes) -> None:
    """Supervise the worker that `told`, a JSON object, describes."""
    about = orjson.loads(told)
    # A signal to the whole process group is for the worker; this process ends after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(
        level=about.pop("loglevel"),
        format="[%(asctime)s: %(levelname)s/supervisor] %(message)s",
    )
    table = SlotTable(about.pop("fd"), about.pop("wake"))
    about["id"] = UUID(about["id"])
    broker = Address(**about.pop("broker"))
    sys.path += [one for one in about.pop("path") if one not in sys.path]
    load(about.pop("sources"), about["pipelines"])
    Supervisor(About(**about), table, bell(broker)).run()


if __name__ == "__main__":
    main(sys.stdin.buffer.read())
