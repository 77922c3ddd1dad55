"""Real processes of the platform, as a user starts them, each in a session of its own."""

from pathlib import Path

from taskplatform.verify.rig.waiting import wait_for
from taskplatform.verify.rig.workers import BIN, Worker, worker

__all__ = ["BIN", "ROOT", "Worker", "wait_for", "worker"]

ROOT = Path(__file__).parents[2]
