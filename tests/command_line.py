"""The command `taskplatform` as a subprocess, for tests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "taskplatform"]


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as data."""
        assert self.code == 0, self
        return json.loads(self.out)

    def failed(self, code: int, *words: str) -> None:
        """Check that it ended so, with one line on stderr that has all the words."""
        assert self.code == code, self
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self
        assert "Traceback" not in self.err
        for word in words:
            assert word in lines[0], self


@dataclass(frozen=True)
class CommandLine:
    """Calls the command in a folder, with settings from the environment."""

    settings: Mapping[str, str] = field(default_factory=dict)
    folder: Path = REPOSITORY

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the platform but these settings."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith("TASKPLATFORM_")}
        given = {f"TASKPLATFORM_{name.upper()}": value for name, value in self.settings.items()}
        return {**mine, **given, "PYTHONPATH": str(REPOSITORY)}

    def __call__(
        self, *arguments: str, input: str | None = None, timeout: float = 60, **more: str
    ) -> Result:
        """Execute it to its end; `more` is environment."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env={**self.environment, **more},
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def started(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Start it (or another program of the same environment) and have it ended afterwards."""
        arguments = command if command[0] == sys.executable else (*COMMAND, *command)
        process = subprocess.Popen(
            arguments,
            cwd=self.folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=45)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.communicate()


def on(database_url: str, broker_url: str, **settings: str) -> CommandLine:
    """The command on these servers."""
    return CommandLine({"database_url": database_url, "broker_url": broker_url, **settings})
