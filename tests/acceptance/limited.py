"""Pipelines that call an outside API of which somebody else judges how often it was called."""

import http.client
from urllib.parse import urlsplit

from pydantic import BaseModel

from taskplatform import Context, Pipeline, Throttle

# The window in which what takes minutes in life is shown in seconds.
SHORT = 6.0
# A hundred calls at once take their time on two busy cores.
LONGER = 10.0


class Call(BaseModel):
    """Which API to call; `tenant` has a limit of its own, `tokens` are what a call takes of it."""

    api: str
    tenant: str = "t"
    tokens: int = 1


def call(api: str, limit: str, run: str) -> int:
    """Call the API; the status of its answer."""
    address = urlsplit(api)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.request("POST", f"/{limit}/{run}/call")
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def limited(throttle: Throttle) -> Pipeline[Call]:
    """A pipeline of one step under that limit."""
    made = Pipeline(f"call-{throttle.name}", input=Call)

    @made.step(throttle=throttle, timeout="1m", name="call")
    def _(input: Call, ctx: Context) -> int:
        return call(input.api, throttle.name, str(ctx.run_id))

    return made


ten_a_minute = limited(Throttle("ten-a-minute", 10, "1m"))
hundred_a_minute = limited(Throttle("hundred-a-minute", 100, "1m"))
ten = limited(Throttle("ten", 10, SHORT))
hundred = limited(Throttle("hundred", 100, LONGER))
few = limited(Throttle("few", 10, "1h"))
unlimited = Pipeline("call-unlimited", input=Call)


@unlimited.step(name="call")
def _call(input: Call, ctx: Context) -> int:
    return call(input.api, "unlimited", str(ctx.run_id))
