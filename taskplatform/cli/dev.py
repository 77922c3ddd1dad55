"""`taskplatform dev`."""

import signal
import sys
import threading
import time
from types import FrameType

import rich_click as click
from rich.text import Text

from taskplatform.cli import place
from taskplatform.cli.demo_runs import enqueue_demo_runs
from taskplatform.cli.output import console
from taskplatform.cli.program import Program
from taskplatform.cli.root import state
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.core.names import HANDLER_PREFIX
from taskplatform.core.redaction import redact
from taskplatform.endpoints import Endpoints
from taskplatform.errors import Unavailable
from taskplatform.settings import get_settings
from taskplatform.storage import migrations, workers

_LOOK = 0.25
# What a worker needs to end beyond the grace of its bodies.
_MARGIN = 10.0
_COLD = 5.0
# A worker opens and ends shifts all the time; what they execute is what matters.
_NOISE = "Task taskplatform.shift["
_COLOURS = {"worker": "cyan", "dev": "bold green"}


@click.command()
@click.option("--demo", is_flag=True, help="Enqueue five demo runs of different kinds.")
@click.option("--concurrency", type=click.IntRange(1, 1000), help="Pool children of the worker.")
@click.pass_context
def dev(ctx: click.RichContext, /, demo: bool, concurrency: int | None) -> int:
    """Start everything in one terminal; Ctrl-C stops all.

    \b
    taskplatform dev
    taskplatform dev --demo

    The database is brought to the newest schema first. Without configured URLs real servers run
    in .taskplatform/; their data stay. Ctrl-C lets running steps end within SHUTDOWN_GRACE, a
    second one does not wait. A worker that dies is started again; one that does not come up three
    times in a row ends `dev` with its exit code.
    """
    place.pipelines()
    if demo:
        registry.get("demo")
    servers = place.servers()
    migrations.upgrade(servers.database_url)
    verbose = bool(state(ctx)["verbose"])
    return Everything(concurrency, verbose=verbose).run(servers, demo=demo)


class Everything:
    """The terminal, the programs in it and how they end."""

    def __init__(self, concurrency: int | None, *, verbose: bool) -> None:
        """None: as many pool children as the setting says."""
        self._verbose = verbose
        self._out = console(stderr=True)
        self._lock = threading.Lock()
        self._stops = 0
        command = [sys.executable, "-m", "celery", "-q", "-A", "taskplatform", "worker"]
        command += ["--loglevel", "INFO"]
        command += ["--concurrency", str(concurrency)] if concurrency else []
        self._worker = Program("worker", command, self._say)

    def run(self, servers: Endpoints, *, demo: bool) -> int:
        """Run until asked to stop; the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._introduce(servers)
        self._worker.start()
        ready = False
        while not self._stops:
            code = self._worker.look()
            if code is not None:
                return code
            if not ready and self._is_up():
                ready = True
                if demo:
                    for line in enqueue_demo_runs():
                        self._say("dev", line)
                self._suggest()
            time.sleep(_LOOK)
        self._end()
        return 0

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _end(self) -> None:
        grace = get_settings().shutdown_grace
        self._say("dev", f"stopping; steps have {grace:g} s to end, Ctrl-C again does not wait")
        self._worker.tell(signal.SIGTERM)
        self._wait(grace + _MARGIN, stops=1)
        if not self._worker.ended():
            self._say("dev", "not waiting for running steps; they are handed back")
            self._worker.tell(signal.SIGQUIT)
            self._wait(_COLD, stops=2)
        if not self._worker.ended():
            self._worker.kill()
        self._say("dev", "stopped; data stay, `taskplatform dev` goes on with them")

    def _wait(self, seconds: float, *, stops: int) -> None:
        deadline = time.monotonic() + seconds
        while not self._worker.ended() and self._stops <= stops and time.monotonic() < deadline:
            time.sleep(0.05)

    def _is_up(self) -> bool:
        try:
            alive = call(lambda connection, _: workers.live(connection))
        except Unavailable:
            return False
        return any(one.pid == self._worker.pid for one in alive)

    def _introduce(self, servers: Endpoints) -> None:
        settings = get_settings()
        found = [one for one in registry.names() if not one.startswith(HANDLER_PREFIX)]
        data = " in " + str(settings.home.resolve())
        database = "embedded, data" + data if settings.database_url is None else ""
        broker = "embedded" if settings.broker_url is None else ""
        self._say("dev", f"database   {redact(servers.database_url)}  {database}")
        self._say("dev", f"broker     {redact(servers.broker_url)}  {broker}")
        self._say("dev", f"pipelines  {', '.join(found) or 'none declared yet'}")
        self._say("dev", "worker     starting")

    def _suggest(self) -> None:
        self._say("dev", "ready. In another terminal:")
        found = [one for one in registry.names() if not one.startswith(HANDLER_PREFIX)]
        example = found[0] if found else "PIPELINE"
        data = """'{"task_id": "t1"}'""" if example == "demo" else "'{...}'"
        for command in (
            f"taskplatform enqueue {example} --input {data} --wait",
            "taskplatform runs watch",
            "taskplatform runs list --status failed",
            "taskplatform doctor",
        ):
            self._say("dev", f"  {command}")

    def _say(self, who: str, line: str) -> None:
        if _NOISE in line and not self._verbose:
            return
        text = Text.assemble((f"{who.ljust(6)} │ ", _COLOURS.get(who, "magenta")))
        text.append_text(Text.from_ansi(line))
        with self._lock:
            self._out.print(text)
