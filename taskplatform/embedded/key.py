"""The key that seals secrets in the embedded database, in a private file beside it."""

import os
from contextlib import suppress
from pathlib import Path

from taskplatform.embedded.home import Home


def secret_key(path: Path, new: str) -> str:
    """The key of the home at `path`; `new`, if it has none yet.

    Raises Unavailable.
    """
    home = Home(path.resolve())
    home.create()
    kept = home.path / "secret.key"
    if not kept.exists():
        made = home.path / f"secret.key.{os.getpid()}"
        home.write(made, new)
        # Of several processes that make one, the first decides.
        with suppress(FileExistsError):
            os.link(made, kept)
        made.unlink()
    return kept.read_text()
