"""A retry storm with real workers, judged by what the bodies wrote down."""

import time
from collections import defaultdict
from pathlib import Path

import pytest

from taskplatform import enqueue_many
from taskplatform.client.session import call
from taskplatform.storage import clock, retry_budgets
from tests.acceptance import scarce
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import wait_for, worker
from tests.command_line import on

SEATS = 5
IN_LINE = "SELECT count(*) FROM taskplatform.work WHERE gate = 'retry-budget:tried:'"
FAILED = "SELECT count(*) FROM taskplatform.step_attempts WHERE outcome = 'failed'"


def value(statement: str) -> int:
    return int(call(lambda connection, _: connection.execute(statement).fetchall())[0][0])


def seats(ledger: Ledger, first: str, since: int, until: int) -> float:
    """How many bodies of orders that begin so were inside, on the average of that time."""
    begun: dict[str, int] = {}
    inside: dict[str, int] = defaultdict(int)
    for order, what, _, at in ledger.lines():
        if what == "start":
            begun[order] = int(at)
        elif what == "end":
            inside[order] += max(0, min(int(at), until) - max(begun.pop(order), since))
    for order, began in begun.items():
        inside[order] += max(0, until - max(began, since))
    return sum(ns for order, ns in inside.items() if order.startswith(first)) / (until - since)


def test_a_retry_storm_leaves_the_seats_to_first_attempts(
    env: dict[str, str], ledger: Ledger, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """G5, W14: retries that would fill all seats twice get a fifth; then all of them go well."""
    env["TASKPLATFORM_PIPELINES"] = "tests.acceptance.scarce"

    why = on(env["TASKPLATFORM_DATABASE_URL"], env["TASKPLATFORM_BROKER_URL"])

    def orders(first: str, many: int, seconds: float, do: str = "") -> list[dict[str, object]]:
        return [
            {"ledger": ledger.path, "id": f"{first}{n}", "seconds": seconds, "do": do}
            for n in range(many)
        ]

    with worker(env, log, "-c", str(SEATS)):
        storm = enqueue_many(scarce.tried, orders("bad", 100, 0.05, "fail"))
        wait_for(lambda: value(IN_LINE) >= 90, 60, "the retries stand in line")
        since = time.monotonic_ns()
        healthy = enqueue_many(scarce.tried, orders("good", 60, 0.2))
        others = enqueue_many(scarce.other, orders("other", 20, 0.2))
        for run in [*healthy, *others]:
            assert run.wait(timeout=60).status == "succeeded"
        until = time.monotonic_ns()
        retries, firsts = (seats(ledger, one, since, until) for one in ("bad", "good"))
        said = next(
            said for run in storm if "retry budget" in (said := why("why", str(run.id)).out)
        )
        Path(f"{ledger.path}.mended").touch()
        held = value(IN_LINE)
        call(lambda connection, _: clock.advance(connection, retry_budgets.WINDOW))
        began = time.monotonic()
        for run in storm:
            assert run.wait(timeout=60).status == "succeeded"
        took = time.monotonic() - began
    failed = sum(1 for order, what, *_ in ledger.lines() if what == "end") - len(storm + healthy)
    with capsys.disabled():
        print(
            f"\nof {SEATS} seats first attempts had {firsts:.1f}, retries {retries:.1f}; "
            f"{held} waited, and all ended well {took:.1f} s after it was over; {failed} attempts",
            end="",
        )
    assert retries <= 1.5
    assert firsts >= 2
    assert "attempts failed in the last 5 minutes; 1 retry is allowed at once" in " ".join(
        said.split()
    )
    assert value(FAILED) == failed, "what waits makes no attempt"
    said = log.read_text()
    assert "retries get 20 % of its slots" in said
    assert "its retries go as usual" in said
