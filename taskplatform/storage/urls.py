"""The two spellings of a PostgreSQL URL."""


def libpq_url(url: str) -> str:
    """The URL as psycopg wants it."""
    scheme, _, rest = url.partition("://")
    return f"postgresql://{rest}" if scheme.startswith("postgres") else url


def sqlalchemy_url(url: str) -> str:
    """The URL as SQLAlchemy wants it, with the driver that is installed."""
    return "postgresql+psycopg://" + libpq_url(url).removeprefix("postgresql://")
