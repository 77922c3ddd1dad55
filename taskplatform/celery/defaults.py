"""Settings that the platform wants of a user's app, where the user said nothing."""

from typing import Any

from celery import Celery

_WANTED: dict[str, Any] = {
    "broker_connection_retry_on_startup": True,
    # Redis may be away for longer than a hundred tries take; workers are to outlast it.
    "broker_connection_max_retries": None,
    # A Redis that answers, but refuses (full, read-only, its disk full), would end the worker.
    "broker_channel_error_retry": True,
    # A hung broker must not hang a publisher: kombu's own default is to wait for ever.
    "broker_transport_options": {
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
    },
    "worker_proc_alive_timeout": 30.0,
}


def apply_defaults(app: Celery) -> None:
    """Change what Celery takes where the user's configuration is silent, now or when it is read."""
    app.on_after_configure.connect(_configured, weak=False)
    if app.configured:
        _configured(app)


def _configured(sender: Celery, **_: Any) -> None:
    # Below everything the user can say. `app.add_defaults` would win over `config_from_object`.
    lowest = sender.conf.maps[-1]
    for name, value in _WANTED.items():
        lowest[name if name in lowest else name.upper()] = value
