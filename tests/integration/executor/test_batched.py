"""Batches, executed by real children."""

from collections.abc import Callable, Iterator

import pytest

from taskplatform import Batch, Context, Permanent, Pipeline, Retry, enqueue_many
from taskplatform.storage import clock
from taskplatform.storage.dispatch import release_due
from tests.integration.executor.house import House, Number


def test_try(house, monkeypatch):
    monkeypatch.setenv("TASKPLATFORM_DATABASE_URL", house.stage.url)
    from taskplatform.settings import get_settings
    from taskplatform.endpoints import endpoints
    get_settings.cache_clear(); endpoints.cache_clear()
    monkeypatch.setenv("TASKPLATFORM_BROKER_URL", "redis://127.0.0.1:1/0")
    seen = []
    p = Pipeline("p", input=Number, output=int, queue="default", batch=Batch(size=4, timeout="5s"), retry=Retry(delays=["10s"]))
    @p.step
    def one(input: list[Number], ctx: Context) -> list[int]:
        seen.append([i.n for i in input])
        assert len(ctx.run_ids) == len(input)
        return [i.n * 2 if i.n != 3 else Permanent("no three") for i in input]
    @p.step
    def two(input: Number, one: int) -> int:
        return one + 100
    runs = [p.enqueue({"n": n}) for n in range(4)]
    assert [r.status for r in runs[:3]] == ["scheduled"]*3
    child = house.child()
    print(house.shift(child))
    print(seen, [r.refresh() for r in runs])
    house.work(child)
    print(seen, [r.refresh() for r in runs], runs[0].output)
    runs = enqueue_many(p, [{"n": 10+n} for n in range(10)])
    house.work(child)
    print(seen)
    clock.advance(house.stage.connection, 4.9)
    release_due(house.stage.connection); house.work(child)
    assert sorted(map(sorted, seen[1:])) == [[10,11,12,13],[14,15,16,17]], seen
    print(house.stage.rows("select due_at, batch, clock_timestamp() from taskplatform.work"))
    clock.advance(house.stage.connection, 0.1)
    print(release_due(house.stage.connection)); house.work(child)
    print(seen)
    print([r.refresh() for r in runs])
