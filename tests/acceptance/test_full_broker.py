"""A worker whose broker has no memory left, and one whose broker is gone."""

from pathlib import Path

from redis import Redis
from redis.exceptions import OutOfMemoryError

from taskplatform.embedded.software import valkey_binaries
from tests.acceptance import ledger as pipelines
from tests.acceptance import system_servers
from tests.acceptance.conftest import Ledger, forget
from tests.acceptance.processes import wait_for, worker

FULL = "the broker is full and refuses to store anything (used memory > 'maxmemory'): raise"


def _fill(client: Redis) -> None:
    for size in (100_000, 1_000, 10):
        try:
            for number in range(10_000):
                client.set(f"filling:{size}:{number}", "x" * size)
        except OutOfMemoryError:
            continue


def _reconnect(client: Redis) -> None:
    own = client.client_id()
    for one in client.client_list():
        if one["id"] != str(own):
            client.client_kill_filter(_id=one["id"])


def test_a_full_broker_is_one_line(env: dict[str, str], ledger: Ledger, log: Path) -> None:
    """F16, W11: what is wrong and what to do, once; nothing lost; other errors are said as ever."""
    program = Path(valkey_binaries()) / "valkey-server"
    options = ("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    with system_servers.redis(*options, program=program) as url:
        env["TASKPLATFORM_BROKER_URL"] = url
        with worker(env, log, "-c", "1"), Redis.from_url(url) as client:
            _fill(client)
            _reconnect(client)
            run = pipelines.three.enqueue({"ledger": ledger.path, "id": "1"})
            wait_for(lambda: FULL in log.read_text(), 40, "the worker says that it is full")
            # Refused again: it connects anew, several times a second.
            before = client.info("stats")["total_error_replies"]
            wait_for(
                lambda: client.info("stats")["total_error_replies"] > before + 15, 40, "more tries"
            )
            said = log.read_text()
            assert said.count(FULL) == 1
            assert "OutOfMemoryError" not in said, said
            assert "Frequent restarts" not in said
            client.flushdb()
            assert run.wait(timeout=30).status == "succeeded"
            client.shutdown(nosave=True)
            wait_for(lambda: "Connection refused" in log.read_text(), 40, "another error is said")
    forget()
