"""Where the doorbell hangs, by the settings of an app."""

import ssl
from typing import Any

import pytest
from celery import Celery

from taskplatform.celery.address import address_of, redis_url
from taskplatform.celery.defaults import apply_defaults
from taskplatform.errors import SettingsError


def app(**conf: Any) -> Celery:
    made = Celery("some", set_as_current=False)
    made.config_from_object(conf)
    return made


def test_the_first_of_several_brokers_the_prefix_and_the_priority_steps_count() -> None:
    address = address_of(
        app(
            broker_url="redis://one/1;redis://other/1",
            broker_transport_options={"global_keyprefix": "p:", "priority_steps": [3, 7]},
        )
    )
    assert address.url == "redis://one/1"
    assert address.prefix == "p:"
    assert address.suffix == "\x06\x167", "where kombu keeps what has no priority"


def test_shifts_come_after_all_else_where_the_worker_does_not_look_ahead() -> None:
    assert address_of(app(broker_url="redis://h")).suffix == ""
    blind = app(broker_url="redis://h", worker_disable_prefetch=True)
    assert address_of(blind).suffix == "\x06\x169"


def test_tls_is_taken_from_where_celery_takes_it() -> None:
    address = address_of(
        app(broker_url="redis://h/0", broker_use_ssl={"ssl_cert_reqs": ssl.CERT_NONE})
    )
    assert address.url == "rediss://h/0"
    assert address.tls == {"ssl_cert_reqs": ssl.CERT_NONE}
    assert redis_url("rediss://h/0?ssl_cert_reqs=CERT_REQUIRED").endswith("ssl_cert_reqs=required")


def test_a_broker_that_is_not_redis_is_refused_by_the_name_of_the_setting() -> None:
    with pytest.raises(SettingsError, match="broker_url of the app 'some' starts with amqp://"):
        address_of(app(broker_url="amqp://h//"))


@pytest.mark.parametrize("configured_before", [True, False])
def test_defaults_stand_below_all_that_the_user_says(configured_before: bool) -> None:
    made = app(broker_connection_max_retries=7, broker_transport_options={"visibility_timeout": 9})
    if configured_before:
        assert made.conf.broker_connection_max_retries == 7
    apply_defaults(made)
    assert made.conf.broker_connection_max_retries == 7
    assert made.conf.broker_transport_options == {"visibility_timeout": 9}
    assert made.conf.worker_proc_alive_timeout == 30.0
    made.conf.worker_proc_alive_timeout = 5
    assert made.conf.worker_proc_alive_timeout == 5


def test_defaults_know_the_old_names_of_settings() -> None:
    made = app(BROKER_CONNECTION_MAX_RETRIES=7, CELERY_TIMEZONE="UTC")
    apply_defaults(made)
    assert made.conf.broker_connection_max_retries == 7
    assert made.conf.broker_transport_options["socket_timeout"] == 5
