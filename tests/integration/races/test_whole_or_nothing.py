"""A pipeline without BEGIN is one transaction up to its end, also when that is our error."""

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from taskplatform.core.ids import uuid7
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import PutBack
from tests.integration.races.stage import Stage, pass_on, succeed

UNSENDABLE = ["\ud800", "a\x00b"]


@pytest.mark.parametrize("text", UNSENDABLE, ids=ascii)
def test_a_settlement_that_cannot_be_sent_leaves_nothing_behind(stage: Stage, text: str) -> None:
    """G3: an output without what follows from it would be half a commit."""
    runs = stage.runs(2)
    good, bad = stage.take()
    then = PutBack("b", "q", 1.0, "throttle", text)

    with pytest.raises((TypeError, UnicodeEncodeError, psycopg.DataError)):
        settle(stage.connection, [succeed(good), replace(pass_on(bad, "b"), then=then)], worker="w")

    assert [stage.results(run) for run in runs] == [{}, {}]
    assert [stage.status(run) for run in runs] == ["queued", "queued"]
    assert settle(stage.connection, [succeed(good)], worker="w") == {good.work_id}
    assert not stage.wrong()


@pytest.mark.parametrize("text", UNSENDABLE, ids=ascii)
@pytest.mark.parametrize("field", ["owner", "request_id", "queue", "first_step"])
def test_a_run_that_cannot_be_sent_takes_no_key(stage: Stage, field: str, text: str) -> None:
    """G7: a key that belongs to a run that was never stored could never be used again."""
    values: dict[str, Any] = {"pipeline": "p", "first_step": "a", "queue": "q", "input": b"{}"}
    bad = NewRun(id=uuid7(), key="k", **{**values, field: text})

    with pytest.raises((TypeError, UnicodeEncodeError, psycopg.DataError)):
        enqueue(stage.connection, [bad])

    assert stage.value("SELECT count(*) FROM taskplatform.keys") == 0
    good = NewRun(id=uuid7(), key="k", **values)
    assert enqueue(stage.connection, [good])[0].created
    assert not stage.wrong()
