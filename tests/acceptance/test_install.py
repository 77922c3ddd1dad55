"""The platform added to a Celery app that a project has already."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from taskplatform.verify.faults import hostile
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import BIN, ROOT, wait_for, worker

Env = dict[str, str]
SHOP = "tests.acceptance.shop.celery"


@pytest.fixture
def shop(env: Env, broker_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Env:
    """The environment of the project: the platform is not told of its broker."""
    monkeypatch.delenv("TASKPLATFORM_BROKER_URL")
    monkeypatch.delenv("TASKPLATFORM_PIPELINES")
    values = {
        "TASKPLATFORM_DATABASE_URL": env["TASKPLATFORM_DATABASE_URL"],
        "SHOP_BROKER": broker_url,
        "SHOP_LEDGER": str(ledger.path),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def python(env: Env, code: str) -> str:
    """What a client process of the project prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CLIENT = """
from tests.acceptance.shop import celery, tasks
print(tasks.add.delay(1, 2).get(timeout=20), tasks.send_mail.delay().get(timeout=20))
run = tasks.parcel.enqueue({"ledger": "LEDGER", "id": "a",
                            "seconds": 3})
print(run.wait(timeout=30).status)
"""


def test_a_projects_own_app_goes_on_working_and_executes_a_pipeline(
    shop: Env, ledger: Ledger, log: Path
) -> None:
    """Own tasks, results, routes, queues, limits, annotations, serializer and beat entries."""
    with worker(shop, log, "-c", "2", "-B", "-s", str(log.with_name("beat")), app=SHOP):
        answers = python(shop, CLIENT.replace("LEDGER", str(ledger.path)))
        wait_for(lambda: ledger.has("tick"), 10, "the project's beat entry ticked")
    assert answers.split() == ["3", "mail", "succeeded"], log.read_text()
    assert ledger.count("start:pack") == ledger.count("start:ship") == {"a": 1}
    started = next(int(line[3]) for line in ledger.lines() if line[1] == "end:pack")
    shipped = next(int(line[3]) for line in ledger.lines() if line[1] == "start:ship")
    assert shipped - started < 1e9, "the bell was not heard"


def test_a_projects_own_worker_survives_hostile_messages(
    shop: Env, broker_url: str, ledger: Ledger, log: Path
) -> None:
    """F17: on the queue of its own tasks; they go on, with their results."""
    # As the project's prefix and priorities name it.
    queue = "shop:shop\x06\x168"
    with worker(shop, log, "-c", "1", app=SHOP) as started, Redis.from_url(broker_url) as redis:
        for entry in hostile.junk("shop", "shop.add").values():
            redis.lpush(queue, entry)
        answers = python(shop, CLIENT.replace("LEDGER", str(ledger.path)))
        wait_for(lambda: not redis.llen(queue), 60, "all of them are taken")
        assert started.process.poll() is None, log.read_text()
        assert answers.split() == ["3", "mail", "succeeded"], log.read_text()


STUBBORN = """
from tests.acceptance.shop import celery, tasks
run = tasks.stubborn.enqueue({"ledger": "LEDGER", "id": "a"}).wait(timeout=30)
print(run.status, run.view().steps[0].attempts[0].outcome)
"""


CANVAS = """
from celery import chain
from tests.acceptance.shop import celery, tasks
run = tasks.parcel.enqueue({"ledger": "LEDGER", "id": "a"}, hold=True)
sent = chain(tasks.parcel.canvas(run), tasks.send_mail.si(), app=celery.app).apply_async()
print(sent.get(timeout=9), run.refresh().status)
"""


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_run_is_a_part_of_the_projects_canvas(
    shop: Env, ledger: Ledger, log: Path, serializer: str
) -> None:
    """By messages, in less than the ten seconds of silence; what follows goes its own route."""
    shop |= {"SHOP_SERIALIZER": serializer, "C_FORCE_ROOT": "1"}
    with worker(shop, log, "-c", "2", app=SHOP):
        answers = python(shop, CANVAS.replace("LEDGER", str(ledger.path)))
    assert answers == "mail succeeded", log.read_text()
    assert ledger.count("start:pack") == ledger.count("start:ship") == {"a": 1}


def test_its_supervisor_knows_the_pipelines_of_the_app(
    shop: Env, ledger: Ledger, log: Path
) -> None:
    """It judges a killed attempt by the pipeline's own policy, so it has to have it."""
    with worker(shop, log, "-c", "2", app=SHOP):
        answers = python(shop, STUBBORN.replace("LEDGER", str(ledger.path)))
    assert answers == "failed timed-out", log.read_text()


def test_a_worker_that_chose_its_queues_serves_only_those_and_says_so(
    shop: Env, ledger: Ledger, log: Path
) -> None:
    """With -Q the operator decides; that no step will be executed is worth a warning."""
    with worker(shop, log, "-c", "1", "-Q", "shop,mail", app=SHOP):
        wait_for(lambda: "add taskplatform to -Q" in _words(log), 10, "the warning")
        answers = python(shop, CLIENT.split("run =")[0])
    assert answers == "3 mail"


BUSY = """
import time
from taskplatform import enqueue_many
from tests.acceptance.ledger import napping
from tests.acceptance.shop import celery, tasks
runs = enqueue_many(napping, ({"seconds": 0.05} for _ in range(1000)))
longest = 0
for _ in range(10):
    sent = time.monotonic()
    tasks.add.delay(1, 2).get(timeout=20)
    longest = max(longest, time.monotonic() - sent)
print(longest, runs[-1].refresh().status)
"""


def test_own_tasks_do_not_wait_behind_shifts_when_the_worker_looks_not_ahead(
    shop: Env, log: Path
) -> None:
    """With worker_disable_prefetch the worker would not even see them while shifts last."""
    with worker({**shop, "SHOP_BLIND": "1"}, log, "-c", "1", app=SHOP):
        longest, last = python(shop, BUSY).split()
    assert last == "queued", "the backlog was over too soon to show anything"
    assert float(longest) < 1.05


def test_a_client_rings_on_the_apps_broker(shop: Env, log: Path) -> None:
    """In a process with an installed app, the platform's own broker setting is not looked at."""
    rung = python(
        {**shop, "TASKPLATFORM_BROKER_URL": "redis://127.0.0.1:1/0"},
        "from tests.acceptance.shop import celery\n"
        "from taskplatform.celery import bell\n"
        "bell.ring({'taskplatform': 1})\n"
        "import os, redis\n"
        "client = redis.Redis.from_url(os.environ['SHOP_BROKER'])\n"
        "print(sorted(client.keys()))",
    )
    assert rung == "[b'shop:taskplatform\\x06\\x168']"


def test_two_apps_in_one_process_are_refused_and_one_twice_is_not() -> None:
    """Which broker would a run of this process be rung on?"""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import taskplatform, celery\n"
            "one, other = celery.Celery('one'), celery.Celery('other')\n"
            "taskplatform.install(one); taskplatform.install(one)\n"
            "assert len(one.steps['worker']) == 1\n"
            "taskplatform.install(other)",
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "SettingsError" in done.stderr
    assert "'one' already" in done.stderr
    assert "'other'" in done.stderr


def test_the_platforms_own_worker_refuses_pipelines_of_another_app(shop: Env, log: Path) -> None:
    """It would consume one broker and ring on another."""
    done = subprocess.run(
        [BIN / "celery", "-A", "taskplatform", "worker", "-c", "1"],
        env={
            **os.environ,
            **shop,
            "TASKPLATFORM_BROKER_URL": shop["SHOP_BROKER"],
            "TASKPLATFORM_PIPELINES": SHOP,
        },
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "belong to the Celery app 'shop'" in done.stderr


def _words(log: Path) -> str:
    return " ".join(log.read_text().split())
