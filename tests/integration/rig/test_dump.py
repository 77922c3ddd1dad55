"""The dump says what the tables and the audit say."""

import json
from pathlib import Path

from pydantic import BaseModel

from taskplatform import Pipeline, get_run
from taskplatform.storage import audit
from taskplatform.storage.connection import connect
from taskplatform.testing.worker import TestWorker
from taskplatform.verify.dump import anchor, dump
from taskplatform.verify.judge.fingerprint import fingerprint


class Order(BaseModel):
    """An input."""

    number: int


class Part(BaseModel):
    """An output whose stored form has more than ASCII."""

    text: str
    share: float


pipe = Pipeline("dumped", input=Order, key="number")


@pipe.step
def first(input: Order) -> Part:
    """Return what has more than ASCII."""
    return Part(text="ü", share=1.0)


def test_a_run_leaves_its_commits_grants_and_states_in_order(
    taskplatform_worker: TestWorker, taskplatform_database: str, tmp_path: Path
) -> None:
    with connect(taskplatform_database, pinned=False) as connection:
        audit.install(connection)
        audit.install(connection)
        anchors = [anchor(connection)]
        run = pipe.enqueue(Order(number=1))
        taskplatform_worker.drain()
        assert get_run(run.id).status == "succeeded"
        found = dump(connection, tmp_path, anchors)
    assert json.loads((tmp_path / "dump.json").read_text()) == found
    me = str(run.id)
    first_value = fingerprint({"text": "ü", "share": 1.0})
    assert [one["fingerprint"] for one in found["results"]] == [first_value]
    (commit,) = found["commits"]
    (grant,) = found["grants"]
    assert (commit["run"], commit["step"], commit["reused"]) == (me, "first", False)
    assert commit["epoch"] == grant["epoch"] == found["results"][0]["epoch"]
    assert grant["n"] < commit["n"]
    assert [one["status"] for one in found["states"]][:1] == ["queued"]
    assert found["states"][-1]["status"] == "succeeded"
    assert found["plans"]["dumped"] == [["first"]]
    assert (found["held"], found["stuck"], found["refused"]) == (0, [], 0)
    assert found["runs"][0]["owns_key"] is True
    start, end = found["anchors"]
    elapsed = (end["mono"] - start["mono"]) / 1e9
    assert abs(end["wall"] - start["wall"] - elapsed) < 0.05
