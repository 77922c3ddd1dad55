"""The Celery settings that the platform stands on."""

from typing import Any

from taskplatform.endpoints import broker_url
from taskplatform.settings import get_settings


def config() -> dict[str, Any]:
    """Read when Celery first needs its configuration, not at import."""
    settings = get_settings()
    return {
        "broker_url": broker_url(),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        # A hung broker must not hang a publisher: kombu's own default is to wait for ever.
        "broker_transport_options": {
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
        },
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_default_queue": settings.queue,
        "task_ignore_result": True,
        # Recovery is by leases: a redelivered message would be a second one.
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": settings.concurrency,
        "worker_proc_alive_timeout": 30.0,
        "beat_schedule_filename": str(settings.home / "celerybeat-schedule"),
    }
