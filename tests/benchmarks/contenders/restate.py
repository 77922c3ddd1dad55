"""Restate: its own server, with its own storage, calls a service that journals each step.

The server is one process from npm; the service is two processes of Hypercorn, as its SDK's
documentation has it. `RESTATE_SERVER` names the program; by default it is beside the environment.
"""

import asyncio
import http.client
import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import local

import restate

from tests.benchmarks.contender import Contender, Pace
from tests.benchmarks.jobs import ASLEEP, FIVE, ONE, SLEEP_SECONDS, Job, Shape
from tests.benchmarks.marks import mark
from tests.benchmarks.waiting import wait_for

_PROGRAM = "restate/node_modules/.bin/restate-server"
_IN_FLIGHT = 50

service = restate.Service("benchmark")


def _step(number: int, place: int) -> int:
    mark(number, place)
    return number


async def _sleep(number: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    mark(number, 0)
    return number


@service.handler()
async def five(ctx: restate.Context, number: int) -> int:
    for place in range(5):
        number = await ctx.run_typed(f"step-{place}", _step, number=number, place=place)
    return number


@service.handler()
async def one(ctx: restate.Context, number: int) -> int:
    done: int = await ctx.run_typed("only", _step, number=number, place=0)
    return done


@service.handler()
async def asleep(ctx: restate.Context, number: int) -> int:
    done: int = await ctx.run_typed("only", _sleep, number=number, seconds=SLEEP_SECONDS)
    return done


app = restate.app(services=[service])


def _server() -> Path:
    beside = Path(sys.prefix) / _PROGRAM
    return Path(os.environ.get("RESTATE_SERVER", beside))


class Restate(Contender):
    """One-way calls over HTTP, one at a time or fifty in flight."""

    title = "Restate"
    package = "restate-sdk"
    durable = True
    shapes = frozenset({Shape.RATE, Shape.ASYNC})
    jobs = frozenset({FIVE, ONE, ASLEEP})
    pace = Pace(bulk=200, one=400, stream=150, enqueue=240, enqueue_bulk=700)

    @classmethod
    def missing(cls) -> str | None:
        if not _server().exists():
            return f"{_server()} is not there (npm install @restatedev/restate-server)"
        return super().missing()

    def open(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="restate-")
        self._ingress, self._admin, self._node, self._service = _free_ports(4)
        self._kept = local()

    def close(self) -> None:
        self._folder.cleanup()

    def workers(self, shape: Shape) -> list[list[str]]:
        here = "127.0.0.1"
        settings = {
            "RESTATE_INGRESS__BIND_ADDRESS": f"{here}:{self._ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"{here}:{self._admin}",
            "RESTATE_DISABLE_TELEMETRY": "true",
        }
        os.environ.update(settings)
        server = [str(_server()), "--no-logo", "--base-dir", self._folder.name,
                  "--listen-mode", "tcp", "--bind-address", f"{here}:{self._node}",
                  "--log-filter", "error"]  # fmt: skip
        processes = "2" if shape is Shape.RATE else "1"
        serve = [sys.executable, "-m", "hypercorn", f"{__name__}:app", "-w", processes,
                 "--bind", f"{here}:{self._service}", "--log-level", "error"]  # fmt: skip
        return [server, serve]

    def started(self) -> None:
        wait_for(partial(_answers, self._service), 60.0, "the service did not start", 0.05)
        # Ready when it has taken in the service, which it does by asking for it.
        body = json.dumps({"uri": f"http://127.0.0.1:{self._service}"})
        wait_for(partial(self._registered, body), 60.0, "Restate did not register the service", 0.2)
        wait_for(partial(_answers, self._ingress), 60.0, "Restate's ingress did not start", 0.05)

    def _registered(self, body: str) -> bool:
        try:
            return _post(self._connect(self._admin), "/deployments", body) in (200, 201)
        except OSError:
            return False

    def one(self, number: int, job: Job) -> None:
        if not hasattr(self._kept, "connection"):
            self._kept.connection = self._connect(self._ingress)
        path = f"/benchmark/{job.name}/send"
        status = _post(self._kept.connection, path, json.dumps(number))
        if status not in (200, 202):
            raise ConnectionError(f"{path} was answered by {status}")

    def bulk(self, numbers: Iterable[int], job: Job) -> None:
        with ThreadPoolExecutor(_IN_FLIGHT) as pool:
            for _ in pool.map(lambda number: self.one(number, job), numbers):
                pass

    @staticmethod
    def _connect(port: int) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=30.0)


def _post(connection: http.client.HTTPConnection, path: str, body: str) -> int:
    connection.request("POST", path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def _free_ports(many: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(many)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
