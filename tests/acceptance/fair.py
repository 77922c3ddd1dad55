"""A pipeline that tenants share."""

import time

from pydantic import BaseModel

from taskplatform import Pipeline


class Job(BaseModel):
    """Some work of a tenant's."""

    tenant: str
    seconds: float = 0.02


shared = Pipeline("shared", input=Job, owner="tenant")


@shared.step
def work(input: Job) -> None:
    """Take as long as it was said."""
    time.sleep(input.seconds)
