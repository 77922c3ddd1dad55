"""The project's own Celery app; its settings come from its own module."""

import os

from celery import Celery

import taskplatform

app = Celery("shop", include=["tests.acceptance.shop.tasks"])
app.config_from_object("tests.acceptance.shop.celeryconfig")
app.conf.broker_url = os.environ["SHOP_BROKER"]
app.conf.result_backend = os.environ["SHOP_BROKER"]
taskplatform.install(app)
