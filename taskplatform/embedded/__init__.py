"""PostgreSQL and Valkey for machines that have neither, shared by all processes of one home.

The first process that asks starts a keeper, the keeper starts the servers, and the end of the
last process stops both; the data stay. See `keeper` for how this survives kill -9.
"""

from taskplatform.embedded.key import secret_key
from taskplatform.embedded.user import Endpoints, endpoints, erase, leave, status, stop

__all__ = ["Endpoints", "endpoints", "erase", "leave", "secret_key", "status", "stop"]
