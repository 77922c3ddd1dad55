"""Settings that a project may well have, several of them bad for long tasks without results."""

import os

from kombu.entity import Queue

task_default_queue = "shop"
task_queues = [Queue("shop"), Queue("mail")]  # type: ignore[no-untyped-call]
task_routes = {"shop.send_*": {"queue": "mail"}, "*": {"queue": "shop"}}
task_acks_late = True
task_reject_on_worker_lost = True
task_track_started = True
task_soft_time_limit = 1
task_time_limit = 2
task_default_rate_limit = "1/h"
task_annotations = {"*": {"acks_late": True, "ignore_result": False}}
_serializer = os.environ.get("SHOP_SERIALIZER", "yaml")
accept_content = [_serializer]
task_serializer = _serializer
result_serializer = _serializer
worker_prefetch_multiplier = 3
worker_disable_prefetch = "SHOP_BLIND" in os.environ
broker_transport_options = {
    "global_keyprefix": "shop:",
    "priority_steps": [2, 5, 8],
    "queue_order_strategy": "priority",
}
beat_schedule = {"tick": {"task": "shop.tick", "schedule": 0.5}}
