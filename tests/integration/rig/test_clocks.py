"""A worker's wall clock can be set, and only that."""

import os
import subprocess
import sys
from pathlib import Path

from taskplatform.verify.rig.clocks import WallClock

ASK = """
import datetime, time
now = datetime.datetime.now(datetime.UTC)
assert isinstance(now, datetime.datetime) and abs(now.timestamp() - time.time()) < 1
assert abs(datetime.datetime.now().timestamp() - time.time_ns() / 1e9) < 1
print(time.time(), time.monotonic(), flush=True)
input()
time.sleep(0.01)
print(time.time(), time.monotonic())
"""


def test_a_change_is_seen_at_once_and_monotonic_time_goes_on(tmp_path: Path) -> None:
    """F26: as when somebody sets the time of a machine."""
    clock = WallClock(tmp_path / "clock")
    with subprocess.Popen(
        [sys.executable, "-c", ASK],
        env={**os.environ, **clock.env(os.environ)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        wall, mono = map(float, process.stdout.readline().split())
        clock.set(7200)
        process.stdin.write("\n")
        process.stdin.flush()
        later, mono_later = map(float, process.stdout.readline().split())
    assert 0 < mono_later - mono < 60
    assert abs((later - wall) - (mono_later - mono) - 7200) < 1
