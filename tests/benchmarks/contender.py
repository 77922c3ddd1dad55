"""What every contender is: how it is set up, enqueues, and is done.

Imported by workers too, whose memory is measured: it needs nothing but the standard library.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from tests.benchmarks.jobs import Job, Shape
from tests.benchmarks.marks import last_ns
from tests.benchmarks.place import Place


@dataclass(frozen=True, slots=True)
class Pace:
    """Roughly what to expect, per second: sizes measurements so that they last equally long."""

    bulk: float
    one: float
    stream: float
    enqueue: float
    enqueue_bulk: float
    lone: float = 20.0


class Contender(ABC):
    """One way of doing it. Runs are numbered from 0 within a measurement."""

    title: ClassVar[str]
    package: ClassVar[str]
    # Whether the outputs of finished steps survive a worker.
    durable: ClassVar[bool]
    shapes: ClassVar[frozenset[Shape]]
    jobs: ClassVar[frozenset[Job]]
    pace: ClassVar[Pace]

    def __init__(self, place: Place) -> None:
        self.place = place
        os.environ.update(self.environment())

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be measured here, if so."""
        try:
            version(cls.package)
        except PackageNotFoundError:
            return f"{cls.package} is not installed"
        return None

    @classmethod
    def version(cls) -> str:
        """Of what is measured."""
        return version(cls.package)

    def environment(self) -> dict[str, str]:
        """What it needs in the environment besides what all get."""
        return {}

    def install(self) -> None:  # noqa: B027 many need nothing here
        """Make its tables, in an empty database."""

    def open(self) -> None:  # noqa: B027 many need nothing here
        """Make the client ready."""

    def close(self) -> None:  # noqa: B027 many need nothing here
        """End the client."""

    @abstractmethod
    def workers(self, shape: Shape) -> list[list[str]]:
        """The command lines of its worker's processes, in the order of their start."""

    def started(self) -> None:  # noqa: B027 many need nothing here
        """Called when they have been started: wait until they are ready, if that can be known."""

    @abstractmethod
    def one(self, number: int, job: Job) -> None:
        """Enqueue one run, as a web handler would."""

    @abstractmethod
    def bulk(self, numbers: Iterable[int], job: Job) -> None:
        """Enqueue many, by the fastest way there is."""

    def ended_ns(self) -> int:
        """When the last run was done; called as soon as its last body has started.

        The last body, which favours whoever has something left to do after it.
        """
        return last_ns(self.place.marks)

    def begin(self) -> None:  # noqa: B027 many need nothing here
        """Called before each measurement, when nothing is executing."""

    def problem(self, runs: int, job: Job) -> str | None:
        """What is wrong with what the runs since `begin` left behind, beyond the marks."""
        return None


def program(name: str, *arguments: str) -> list[str]:
    """The command line of a program that is installed beside this Python."""
    return [os.path.join(os.path.dirname(sys.executable), name), *arguments]


def celery_worker(app: str, shape: Shape) -> list[list[str]]:
    """A stock Celery worker."""
    options = {
        Shape.RATE: ("-c", "2"),
        Shape.DEFAULT: ("-c", "10"),
        Shape.THREADS: ("-P", "threads", "-c", "100"),
        Shape.ASYNC: ("-P", "threads", "-c", "100"),
        Shape.THOUSAND: ("-P", "threads", "-c", "1000"),
    }[shape]
    return [[sys.executable, "-m", "celery", "-A", app, "worker", *options, "-l", "WARNING"]]
