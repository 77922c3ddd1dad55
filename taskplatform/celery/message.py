"""A Celery message without arguments, as kombu's Redis transport keeps it in a list."""

import base64
import os
import socket
from typing import Any
from uuid import uuid4

import orjson

# No arguments, and nothing that follows.
BODY: Any = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
ENCODED = base64.b64encode(orjson.dumps(BODY)).decode()


def headers(task: str) -> dict[str, Any]:
    """The headers of a message that asks for `task`; each call gives a new id."""
    id = str(uuid4())
    return {
        "lang": "py",
        "task": task,
        "id": id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": id,
        "parent_id": None,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": f"{os.getpid()}@{socket.gethostname()}",
        "ignore_result": True,
    }


def message(task: str, queue: str) -> bytes:
    """Encode one message that asks for `task`; each call gives a new id and delivery tag."""
    own = headers(task)
    return orjson.dumps(
        {
            "body": ENCODED,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": own,
            "properties": {
                "correlation_id": own["id"],
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    )
