"""The stage: a console, two real workers, and an interface that is down for its first call."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from rich.console import Console
from rich.live import Live

from taskplatform.cli.run_page import Growing
from taskplatform.client.run import Run
from taskplatform.client.session import call
from taskplatform.client.view import RunView
from taskplatform.errors import Unavailable
from taskplatform.storage import workers

_READY_SECONDS = 60.0


class Failed(Exception):
    """The demo did not show what it should."""


class Stage:
    """Where the scenes are played; `checks` are what they have shown, and whether it was so."""

    def __init__(self, out: Console, folder: Path) -> None:
        self.out = out
        self.folder = folder
        self.ledger = folder / f"ledger-{os.getpid()}"
        self.checks: list[tuple[str, bool]] = []
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self.out.print()
        self.out.print(f"[bold cyan]{title}[/]")
        self.out.print(f"[cyan]{'─' * len(title)}[/]")

    def say(self, line: str) -> None:
        """Tell the audience something."""
        self.out.print(f"  {line}", markup=False, highlight=False)

    def check(self, what: str, holds: bool) -> None:
        """Show a fact, and remember whether it holds."""
        self.checks.append((what, holds))
        self.out.print(f"  {'[green]✓[/]' if holds else '[red]✗[/]'} {what}")

    def executed(self, task_id: str) -> Counter[str]:
        """How often each step's body was executed, as the bodies wrote down."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        rows = (line.split() for line in lines)
        return Counter(step for task, step, what, _ in rows if task == task_id and what != "began")

    def began(self, task_id: str) -> bool:
        """Whether the slow step has begun."""
        return self.ledger.exists() and f"{task_id} simulate-delay began" in self.ledger.read_text()

    def follow(self, run: Run, until: Callable[[RunView], bool], seconds: float) -> RunView:
        """Show a run live until something holds of it."""
        deadline = time.monotonic() + seconds
        with Live(console=self.out, refresh_per_second=10, transient=True) as live:
            while True:
                view = run.view()
                live.update(Growing(view))
                if until(view):
                    break
                if time.monotonic() > deadline:
                    raise Failed(f"run {run.id} is {view.status} after {seconds:g} s")
                time.sleep(0.05)
        self.out.print(Growing(view))
        return view

    def start_worker(self, name: str, env: dict[str, str]) -> None:
        """Start a worker as a user would; what it prints goes to a file."""
        log = self.folder / f"worker-{name}.log"
        command = [sys.executable, "-m", "celery", "-A", "taskplatform", "worker"]
        command += ["-n", f"{name}@demo", "-c", "2", "-l", "INFO", "--without-mingle"]
        with log.open("wb") as out:
            self._workers[name] = subprocess.Popen(
                command,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def wait_for_workers(self) -> None:
        """Wait until all workers have reported."""
        deadline = time.monotonic() + _READY_SECONDS
        while not {f"{name}@demo" for name in self._workers} <= _reporting():
            for name, process in self._workers.items():
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / f"worker-{name}.log").read_text(errors="replace")
                    raise Failed(f"worker {name} did not come up:\n{log[-3000:]}")
            time.sleep(0.05)

    def kill_worker(self, name: str) -> None:
        """Kill a worker with all its processes, as a lost machine would."""
        process = self._workers.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_workers(self) -> None:
        """Stop what still runs."""
        for process in self._workers.values():
            process.send_signal(signal.SIGTERM)
        for process in self._workers.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _reporting() -> set[str]:
    try:
        return {one.name for one in call(lambda connection, _: workers.live(connection))}
    except Unavailable:
        return set()


@contextmanager
def unreliable_api() -> Iterator[str]:
    """An interface that answers 503 once, and 200 from then on; yields its URL."""
    answers = iter([503])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(answers, 200))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """The stage is not its place."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
