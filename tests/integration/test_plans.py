"""The plans of the hot statements: by index, without the backlog, whatever the planner believes.

Never-analysed tables once made a claim scan the backlog: ten times slower, and quadratic. So each
statement is explained as it is executed, prepared and with its generic plan, on a pinned session.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from types import ModuleType
from typing import Any
from uuid import UUID

import orjson
import pytest
from psycopg import sql

from taskplatform.storage import (
    batches,
    breakers,
    bursts,
    children,
    claim,
    claim_each,
    dispatch,
    events,
    fork_sql,
    join_sql,
    lanes,
    orphans,
    progress,
    running,
    settle_sql,
    slots,
    taking,
    unstarted,
    waits,
)
from taskplatform.storage.connection import Session, connect

BACKLOG = 100_000
LIMIT = 100
# More rows than this in any node of a plan: it goes through the backlog.
MOST_ROWS = 500
HOLDER = 1
RUNS = [UUID(int=number) for number in range(1, LIMIT + 1)]
WORK = list(range(1, LIMIT + 1))
BY_INDEX = {"Index Scan", "Index Only Scan"}

ROWS: list[dict[str, Any]] = [
    {
        "work_id": work,
        "run_id": str(RUNS[work - 1]),
        "epoch": 1,
        "next": "two",
        "step": "second",
        "output": {},
        "version": 1,
        "attempt": 1,
        "started_ago": 0.1,
        "finished_ago": 0.0,
        "outcome": "failed",
        "error": None,
        "number": None,
        "alone": False,
        "status": "succeeded",
        "output_step": "second",
        "key_seconds": 60.0,
        "mark": True,
        "delay": 60.0,
        "reason": "retry",
        "waiting_for": None,
        "id": str(UUID(int=BACKLOG * 2 + work)),
        "pipeline": "five",
        "queue": "taskplatform",
        "failures": 1,
        "put_off": 0.0,
        "tried": True,
        "input": {},
        "position": work,
        "failed": False,
        "scope": "five:",
        "size": 3,
        "key": f"key{work}",
        "period": 10.0,
        "max_wait": 60.0,
        "members": [{"step": "left", "queue": "taskplatform"}],
        "items": [1, 2],
        "width": 10,
        "event": "approved",
        "field": "id",
        "value": f"r{work}",
        "timeout": 60.0,
        "parent_step": "second",
        "priority": None,
        "owner": None,
        "run_timeout": None,
        "rest": "sleep",
        "run_error": {},
    }
    for work in WORK
]
NAMED: dict[str, Any] = {
    "holder": HOLDER,
    "after": 0,
    "queues": ["taskplatform", "slow"],
    "pipelines": ["five", "other"],
    "limit": LIMIT,
    "from": ["", ""],
    "most": 200,
    "of_queues": ["taskplatform", "taskplatform", "slow"],
    "lanes": ["", "t1", ""],
    "many": [LIMIT, LIMIT, LIMIT],
    "starts": [0.0, 0.001, 0.0],
    "paces": [0.001, 0.001, 0.001],
    "bases": [0.0, 0.0, 0.0],
    "due_queues": ["taskplatform"],
    "due_lanes": ["t1"],
    "due_seconds": [0.1],
    "costs": orjson.dumps({"five.first": 0.00001}).decode(),
    "budget": 0.005,
    "run_id": RUNS[0],
    "rows": orjson.dumps(ROWS).decode(),
    "worker": "tester",
    "work_id": WORK[0],
    "epoch": 1,
    "ids": WORK,
    "epochs": [1] * LIMIT,
    "started": ["2026-01-01T00:00:00Z"] * LIMIT,
    "holders": [HOLDER, *range(BACKLOG, BACKLOG + LIMIT - 1)],
    "needs": "{}",
    "given_back": True,
    "runs": RUNS,
    "steps": ["second"] * LIMIT,
    "id": UUID(int=BACKLOG * 3),
    "name": "approved",
    "keys": ["key1", "key2"],
    "calls": RUNS[:2],
    "values": ["r1", "r2"],
    "data": '{"id": "r1"}',
    "gates": ["concurrency:a:", "breaker:approved:"],
    "limits": [LIMIT, LIMIT],
    "ended": RUNS,
    "asking": 1,
    "passed": 1,
    "failed": 1,
    "why": "no answer",
    "window": 60,
    "slice": 6,
    "shown": "60 s",
    "minimum": 10,
    "failures": 1,
    "cool_down": 30,
    "ramp": 16,
}
IN_ORDER: dict[str, list[Any]] = {
    "LOCK_KEYS": [RUNS],
    "LOCK_WORK": [orjson.dumps(ROWS).decode()],
    "_DUE": [200],
    "_LOCK": [WORK],
    "_RELEASE": [WORK],
    "_UNMARKED": [WORK, [1] * LIMIT, [0.1] * LIMIT],
    "_STILL_HELD": [WORK, [1] * LIMIT],
    "_WRITE": [WORK, [1] * LIMIT, [HOLDER] * LIMIT, *([[0.1] * LIMIT] * 3)],
    "_OVERDUE": [["five", "other"], LIMIT],
    "_ONE_AT_A_TIME": [orjson.dumps(ROWS[:1]).decode()],
    "_FULL": [orjson.dumps(ROWS[:1]).decode()],
    "_LEAD": [WORK],
    "_ANY": [["five", "other"]],
    "unstarted._LOCK": [RUNS],
    "unstarted._TAKE": [HOLDER, RUNS],
    "_FORGET_OTHERS": [RUNS],
    "LOCK_EVENTS": [["a", "b"]],
    "events._LOCK": [["a", "b"]],
    "_STORE": [UUID(int=BACKLOG * 4), "approved", "{}"],
    "_ARRIVED": [RUNS[0], "second"],
    "_NEWEST": [RUNS[0], "second"],
    "_CHILDREN": [RUNS],
    "_OF_HOLDER": [HOLDER],
    "_HOLDS": [1, "concurrency:a:"],
}
HOT = (
    batches,
    bursts,
    claim,
    claim_each,
    taking,
    settle_sql,
    dispatch,
    running,
    fork_sql,
    join_sql,
    waits,
    events,
    children,
    orphans,
    progress,
    slots,
    unstarted,
)
# Parts of statements.
FRAGMENTS = {
    "HELD",
    "IS_HELD",
    "_HELD",
    "MORE",
    "_SERVED",
    "_WEIGHT",
    "_WAITS",
    "_GIVEN",
    "_OWNED",
    "LIVE",
    "MOST",
    "_OWN",
    "RESERVED",
    "IN_FRONT",
}


def statements() -> Iterator[tuple[str, str]]:
    """Every statement of the modules on the hot path, also those that will be added."""
    for module in HOT:
        for name, value in vars(module).items():
            if isinstance(value, str) and name.strip("_").isupper() and name not in FRAGMENTS:
                yield f"{_short(module)}.{name}", value


def _short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


STATEMENTS = {
    **dict(statements()),
    "lanes.LOOK": lanes.LOOK,
    **{
        f"breakers.{name}": vars(breakers)[name]
        for name in ("_KNOW", "_COUNT", "_TRIP", "_TRIED", "_FORGET_COUNTS", "_HALF_OPEN", "_STATE")
    },
}


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """A session as the platform's workers have it."""
    with closing(connect(database_url)) as connection:
        connection.execute("SET statement_timeout = '60s'")
        yield connection


def plan(session: Session, name: str) -> list[dict[str, Any]]:
    """The nodes of the statement's generic plan, executed and rolled back."""
    values = IN_ORDER.get(name, IN_ORDER.get(name.partition(".")[2], []))
    text = STATEMENTS[name]
    assert values or "%s" not in text, f"IN_ORDER needs values for the new statement {name}"
    if not values:
        order = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
        values = [NAMED[one] for one in order]
        for place, one in enumerate(order, 1):
            text = text.replace(f"%({one})s", f"${place}")
    else:
        for place in range(1, len(values) + 1):
            text = text.replace("%s", f"${place}", 1)
    given = sql.SQL(", ").join(map(sql.Literal, values))
    call = sql.SQL("({})").format(given) if values else sql.SQL("")
    session.execute(f"PREPARE hot AS {text}".encode())
    try:
        with session.transaction(force_rollback=True):
            explain = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot{}").format(call)
            row = session.execute(explain).fetchone()
    finally:
        session.execute("DEALLOCATE hot")
    assert row is not None
    (top,) = orjson.loads(row[0])
    return list(nodes(top["Plan"]))


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from nodes(below)


def scans(found: list[dict[str, Any]]) -> list[str]:
    """Reads of a table other than by index."""
    return [
        f"{node['Node Type']} of {node['Relation Name']}"
        for node in found
        if "Relation Name" in node and node["Node Type"] not in {*BY_INDEX, "ModifyTable"}
    ]


def floods(found: list[dict[str, Any]]) -> list[str]:
    """Nodes that had more rows in hand than any batch has."""
    return [
        f"{node['Node Type']} of {node.get('Relation Name', 'what is below')}: {rows:g} rows"
        for node in found
        if (rows := _rows(node)) > MOST_ROWS
    ]


def _rows(node: dict[str, Any]) -> float:
    seen = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return float(seen * node["Actual Loops"])


def fill(session: Session) -> None:
    """A backlog of ready work, with a hundred rows of it held, and a thousand that are due."""
    session.execute(
        """
        INSERT INTO taskplatform.runs (id, pipeline, status, input, key)
        SELECT lpad(to_hex(n), 32, '0')::uuid, 'five', 'queued', '{}', 'key' || n
        FROM generate_series(1, %s) AS n
        """,
        (BACKLOG,),
    )
    session.execute(
        """
        INSERT INTO taskplatform.work (run_id, pipeline, step, queue, lane, holder, epoch,
                                       due_at, batch)
        SELECT lpad(to_hex(n), 32, '0')::uuid, 'five', 'first', 'taskplatform',
               CASE WHEN n %% 2 = 0 THEN '' ELSE 't' || n %% 100 END,
               CASE WHEN n <= %s THEN %s END, CASE WHEN n <= %s THEN 1 ELSE 0 END,
               CASE WHEN n %% 100 = 99 AND n > %s THEN clock_timestamp() END,
               'five:'
        FROM generate_series(1, %s) AS n ORDER BY n
        """,
        (LIMIT, HOLDER, LIMIT, LIMIT, BACKLOG),
    )
    session.execute(
        "INSERT INTO taskplatform.keys (pipeline, key, run_id)"
        " SELECT pipeline, key, id FROM taskplatform.runs"
    )
    session.execute(
        """
        INSERT INTO taskplatform.waits (run_id, step_name, work_id, event, field, value)
        SELECT run_id, 'wait', id, 'approved', 'id', 'r' || id FROM taskplatform.work
        """
    )
    session.execute(
        """
        INSERT INTO taskplatform.items (run_id, step_name, position, item, version)
        SELECT run_id, 'map', 0, '{}', 1 FROM taskplatform.work
        """
    )
    session.execute(
        """
        INSERT INTO taskplatform.slots (gate, run_id, holder, epoch, most)
        SELECT 'concurrency:a:' || CASE WHEN id > %s THEN id::text ELSE '' END, run_id,
               CASE WHEN id %% 2 = 0 THEN %s END, CASE WHEN id %% 2 = 0 THEN 2 + id END, 1
        FROM taskplatform.work
        """,
        (LIMIT, HOLDER + 1),
    )


def test_plans_on_empty_tables(session: Session) -> None:
    """Q9: nothing is known of the tables, and still every statement goes by index."""
    bad = {name: found for name in STATEMENTS if (found := scans(plan(session, name)))}
    assert bad == {}


def test_plans_with_a_backlog(session: Session) -> None:
    """Q9: 100,000 rows wait, analysed or not: no statement has more in hand than its batch."""
    fill(session)
    for analysed in (False, True):
        if analysed:
            session.execute("ANALYZE")
        found = {name: plan(session, name) for name in STATEMENTS}
        bad = {name: wrong for name in found if (wrong := scans(found[name]) + floods(found[name]))}
        assert bad == {}, f"analysed: {analysed}"


def test_a_claim_looks_at_no_more_than_its_limit(session: Session) -> None:
    """Q9: the backlog is read in the order of its index, not sorted, and no further than asked."""
    fill(session)
    for name in ("taking.TAKE", "taking.TAKE_EACH", "taking.TAKE_IN_TURN", "lanes.LOOK"):
        for node in plan(session, name):
            if node.get("Relation Name") == "work":
                assert _rows(node) <= LIMIT
