"""A role of the database's that may have few connections."""

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from urllib.parse import urlsplit

import psycopg


@contextmanager
def limited_role(database_url: str, limit: int) -> Iterator[str]:
    """The URL under which so many connections may be open at once; dropped with all of them."""
    name, password = f"limited_{token_hex(4)}", token_hex(8)
    with psycopg.connect(database_url, autocommit=True) as admin:
        for statement in (
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}' CONNECTION LIMIT {limit}",
            f"GRANT USAGE ON SCHEMA taskplatform TO {name}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA taskplatform TO {name}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA taskplatform TO {name}",
        ):
            admin.execute(statement)
        server = urlsplit(database_url)
        host = f"{name}:{password}@{server.hostname}:{server.port}"
        try:
            yield server._replace(netloc=host).geturl()
        finally:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s",
                (name,),
            )
            admin.execute(f"DROP OWNED BY {name}")
            admin.execute(f"DROP ROLE {name}")
