"""The figures: what each is called, its unit, and which way is better."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that measures produce."""

    title: str
    unit: str
    more_is_better: bool = False


FIGURES: dict[str, Figure] = {
    "five.bulk": Figure("5 steps, bulk enqueue", "runs/s", True),
    "five.stream": Figure("5 steps, one enqueue call per run", "runs/s", True),
    "one.bulk": Figure("1 step, bulk enqueue", "runs/s", True),
    "five.cpu": Figure("5 steps, CPU of all processes", "ms/run"),
    "five.cpu.client": Figure("5 steps, CPU of all processes, of the client", "ms/run"),
    "five.cpu.worker": Figure("5 steps, CPU of all processes, of the worker", "ms/run"),
    "five.cpu.postgres": Figure("5 steps, CPU of all processes, of Postgres", "ms/run"),
    "five.cpu.valkey": Figure("5 steps, CPU of all processes, of Valkey", "ms/run"),
    "five.commits": Figure("5 steps, commits, loaded", "/run"),
    "five.wal": Figure("5 steps, WAL, loaded", "B/run"),
    "lone.first.p50": Figure("idle system, enqueue to first step, p50", "ms"),
    "lone.first.p95": Figure("idle system, enqueue to first step, p95", "ms"),
    "lone.first.p99": Figure("idle system, enqueue to first step, p99", "ms"),
    "lone.first.worst": Figure("idle system, enqueue to first step, worst", "ms"),
    "lone.done.p50": Figure("idle system, enqueue to end, p50", "ms"),
    "lone.done.p95": Figure("idle system, enqueue to end, p95", "ms"),
    "lone.done.p99": Figure("idle system, enqueue to end, p99", "ms"),
    "lone.done.worst": Figure("idle system, enqueue to end, worst", "ms"),
    "silence.done.p50": Figure("after 1.2 s of silence, enqueue to end, p50", "ms"),
    "silence.done.worst": Figure("after 1.2 s of silence, enqueue to end, worst", "ms"),
    "lone.commits": Figure("idle system, commits", "/run"),
    "lone.wal": Figure("idle system, WAL", "B/run"),
    "lone.commands": Figure("idle system, Valkey commands", "/run"),
    "enqueue.single": Figure("enqueue, one call a run, no worker", "runs/s", True),
    "enqueue.bulk": Figure("enqueue in bulk, no worker", "runs/s", True),
    "io.threads": Figure("1,000 blocking steps of 100 ms, 100 at a time", "s"),
    "io.threads.cpu": Figure(
        "1,000 blocking steps of 100 ms, 100 at a time, CPU of all processes", "s"
    ),
    "io.async": Figure("1,000 async steps of 100 ms, 100 at a time", "s"),
    "io.async.cpu": Figure("1,000 async steps of 100 ms, 100 at a time, CPU of all processes", "s"),
    "io.thousand": Figure("1,000 async steps of 1 s, all at a time", "s"),
    "io.thousand.cpu": Figure("1,000 async steps of 1 s, all at a time, CPU of all processes", "s"),
    "memory.pss": Figure("idle worker, 10 children, PSS", "MB"),
    "memory.rss": Figure("idle worker, 10 children, RSS", "MB"),
    "memory.child.pss": Figure("idle worker, 10 children, per pool child, PSS", "MB"),
    "memory.child.rss": Figure("idle worker, 10 children, per pool child, RSS", "MB"),
    "memory.growth": Figure(
        "idle worker, 10 children, growth over a backlog of 20,000 runs, PSS but files", "MB"
    ),
    "idle.cpu": Figure("idle system, CPU of worker and servers", "% of a core"),
    "idle.transactions": Figure("idle system, transactions", "/s"),
    "idle.commands": Figure("idle system, Valkey commands", "/s"),
    "task.rate": Figure("plain tasks", "tasks/s", True),
    "task.cpu": Figure("plain tasks, CPU of all processes", "ms/task"),
    "history.five": Figure("5 steps, bulk enqueue", "runs/s", True),
    "history.one": Figure("1 step, bulk enqueue", "runs/s", True),
    "history.stream": Figure("5 steps, one enqueue call per run", "runs/s", True),
    "history.done.p50": Figure("idle system, enqueue to end, p50", "ms"),
    "history.done.worst": Figure("idle system, enqueue to end, worst", "ms"),
    "stability.first": Figure("5 steps, bulk enqueue, in the first minute", "runs/s", True),
    "stability.last": Figure("5 steps, bulk enqueue, in the last minute", "runs/s", True),
    "stability.ratio": Figure("5 steps, bulk enqueue, last / first minute", "x", True),
    "stability.workers": Figure("CPU of the workers for a run, last / first minute", "x"),
    "stability.postgres": Figure("CPU of Postgres for a run, last / first minute", "x"),
    "stability.dead.work": Figure("dead rows of work after it", "rows"),
    "stability.size.work": Figure("size of work after it", "MB"),
    "stability.dead.runs": Figure("dead rows of runs after it", "rows"),
    "stability.size.runs": Figure("size of runs after it", "MB"),
}
