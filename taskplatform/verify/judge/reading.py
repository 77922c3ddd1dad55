"""Reading a history from its folder."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from taskplatform.verify.judge.history import (
    Call,
    Change,
    Commit,
    Execution,
    Fault,
    Grant,
    History,
    Operation,
    Result,
    Run,
)

Line = dict[str, Any]


class Unreadable(ValueError):
    """A file of the history is not what it should be."""


def read(folder: Path) -> History:
    """Read the history in a folder.

    The last line of a file may be torn, as a killed process leaves it. Raises Unreadable, which
    names the file and the line.
    """
    history = History()
    for path in sorted((folder / "ledger").glob("*.jsonl")):
        _executions(history, path)
    for path in sorted((folder / "clients").glob("*.jsonl")):
        _operations(history, path)
    _faults(history, folder / "nemesis.jsonl")
    history.restarts = len(list(_lines(history, folder / "restarts.jsonl")))
    for line in _lines(history, folder / "calls.jsonl"):
        history.calls.append(Call(line["limit"], line["run"], line["step"], line["mono"]))
    _dump(history, folder / "dump.json")
    history.executions.sort(key=lambda one: one.start)
    return history


def _lines(history: History, path: Path) -> Iterator[Line]:
    if not path.exists():
        return
    content = path.read_bytes()
    for number, raw in enumerate(content.splitlines(keepends=True), 1):
        if not raw.endswith(b"\n"):
            history.torn += 1
            return
        try:
            yield json.loads(raw)
        except ValueError as error:
            raise Unreadable(f"{path}, line {number}: {error}") from None


def _executions(history: History, path: Path) -> None:
    open_ones: dict[tuple[Any, ...], Execution] = {}
    for line in _lines(history, path):
        key = tuple(line[name] for name in ("run", "step", "attempt", "epoch", "pid"))
        match line["event"]:
            case "start":
                one = Execution(
                    line["run"],
                    line["pipeline"],
                    line["step"],
                    line["attempt"],
                    line["epoch"],
                    line["pid"],
                    line["mono"],
                    worker=line.get("worker", 0),
                    under=line.get("under", {}),
                )
                open_ones[key] = one
                history.executions.append(one)
            case "effect":
                open_ones[key].effects += 1
            case "end":
                open_ones[key].end, open_ones[key].value = line["mono"], line["value"]


def _operations(history: History, path: Path) -> None:
    asked: dict[str, Line] = {}
    told: dict[str, Line] = {}
    for line in _lines(history, path):
        (asked if line["phase"] == "invoke" else told)[line["op"]] = line
    for op, line in asked.items():
        answer = told.get(op, {"phase": "unknown"})
        run = answer.get("run") or line["run"]
        history.operations.append(
            Operation(
                line["do"],
                line["request"],
                run,
                line["key"],
                answer["phase"],
                line.get("wants"),
                line["pipeline"],
            )
        )


def _faults(history: History, path: Path) -> None:
    begun: dict[int, Line] = {}
    pids: dict[int, set[int]] = {}
    for line in _lines(history, path):
        if "seed" in line:
            history.seed, history.least = line["seed"], line.get("least", 0)
            history.concurrency = line.get("concurrency", 0)
            continue
        if line["phase"] == "left-out":
            history.left_out[line["fault"]] = line["detail"]["why"]
        if line["phase"] in ("left-out", "missed"):
            continue
        pids.setdefault(line["id"], set()).update(line["pids"])
        if line["phase"] == "begin":
            begun[line["id"]] = line
        else:
            first = begun.pop(line["id"], line)
            hit = frozenset(pids[line["id"]])
            history.faults.append(Fault(line["fault"], hit, first["mono"], line["mono"]))
    for number, line in begun.items():
        hit = frozenset(pids[number])
        history.faults.append(Fault(line["fault"], hit, line["mono"], 2**63))


def _dump(history: History, path: Path) -> None:
    if not path.exists():
        raise Unreadable(f"{path}: there is no dump")
    dump = json.loads(path.read_bytes())
    mono, history.clock_drift = _clock(dump["anchors"])
    history.plans, history.held, history.stuck = dump["plans"], dump["held"], dump["stuck"]
    history.refused, history.deadlocks = dump["refused"], dump["deadlocks"]
    history.limits = {
        name: (one["limit"], one["per"]) for name, one in dump.get("limits", {}).items()
    }
    for one in dump["runs"]:
        history.runs[one["id"]] = Run(**one)
    history.results = [Result(**one) for one in dump["results"]]
    for one in dump["attempts"]:
        key = one["run"], one["step"], one["number"], one["epoch"]
        history.attempts.add(key)
        if one["outcome"] in ("crashed", "interrupted"):
            history.lost_attempts.add(key)
    history.commits = [
        Commit(
            one["run"],
            one["step"],
            one["epoch"],
            one["fingerprint"],
            mono(one["wall"]),
            one["n"],
            one["reused"],
        )
        for one in sorted(dump["commits"], key=lambda one: int(one["n"]))
    ]
    history.grants = [
        Grant(one["run"], one["branch"], one["epoch"], one["n"])
        for one in sorted(dump["grants"], key=lambda one: int(one["n"]))
    ]
    history.changes = [
        Change(one["run"], one["status"], mono(one["wall"]), one["n"])
        for one in sorted(dump["states"], key=lambda one: int(one["n"]))
    ]


def _clock(anchors: list[dict[str, float]]) -> tuple[Callable[[float], int], float]:
    """The database's clock as the machine's monotonic one, and by how much they drifted apart."""
    first, last = anchors[0], anchors[-1]
    drift = (last["wall"] - first["wall"]) - (last["mono"] - first["mono"]) / 1e9

    def mono(wall: float) -> int:
        return int(first["mono"] + (wall - first["wall"]) * 1e9)

    return mono, drift
