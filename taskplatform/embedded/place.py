"""Where the data lie and which system user the servers run as.

PostgreSQL refuses to run as root, so root needs another user for it, and that user must be able
to reach the data and the binaries, which it is not in a home below /root (mode 0700).
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from taskplatform.embedded.home import Home
from taskplatform.errors import Unavailable

ACCOUNT = "embedded_postgres"
FALLBACK_ACCOUNT = "nobody"
STATE_DIRECTORIES = (Path("/var/lib/taskplatform"), Path("/var/tmp"))


@dataclass(frozen=True)
class Place:
    """The folder that holds the servers' data, and the user (None: ourselves) who runs them."""

    root: Path
    user: pwd.struct_passwd | None

    def own(self, path: Path) -> None:
        """Give a path to the servers' user."""
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def folder(self, name: str) -> Path:
        """A private folder of the servers' user."""
        path = self.root / name
        path.mkdir(mode=0o700, exist_ok=True)
        self.own(path)
        return path

    def write(self, name: str, text: str) -> Path:
        """A private file of the servers' user."""
        path = self.root / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        self.own(path)
        return path

    def runs(self, binaries: Path, copy: Callable[[Path], Path]) -> Path:
        """The folder to execute from: the wheel's, or a copy if the user cannot reach it."""
        if self.user is None or reachable(binaries, self.user):
            return binaries
        source = binaries.stat()
        target = self.root / f"software-{source.st_ino}-{source.st_mtime_ns}"
        marker = target / binaries.name / "copied-to"
        if not marker.exists():
            shutil.rmtree(target / binaries.name, ignore_errors=True)
            copied = copy(target / binaries.name)
            for path in target.rglob("*"):
                self.own(path)
            marker.write_text(str(copied))
        return Path(marker.read_text())

    def discard(self, home: Home) -> None:
        """Remove data that lie outside of a home that is gone."""
        if home.path not in (self.root, *self.root.parents):
            shutil.rmtree(self.root, ignore_errors=True)


def settle(home: Home) -> Place:
    """Find the place of a home, or choose one; root only: may create a system user.

    Raises Unavailable if the place that the home remembers is gone.
    """
    if os.geteuid() != 0:
        return Place(home.path, None)
    owner = home.path.stat().st_uid
    user = pwd.getpwuid(owner) if owner else account()
    remembered = home.path / "place"
    with contextlib.suppress(FileNotFoundError):
        root = Path(remembered.read_text())
        if not root.is_dir():
            raise Unavailable(
                f"the data of {home.path} were in {root}, which is gone; "
                f"delete {remembered} to start with an empty database"
            )
        return Place(root, user)
    if owner == 0:
        home.path.chmod(0o711)
    if reachable(home.path, user):
        return Place(home.path, user)
    root = _elsewhere(home.path.parent.name)
    home.write(remembered, str(root))
    return Place(root, user)


def reachable(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether a user may traverse all folders down to a path, by owner's and others' bits."""
    for folder in (path, *path.parents):
        stat = folder.stat()
        bit = 0o100 if stat.st_uid == user.pw_uid else 0o001
        if not stat.st_mode & bit:
            return False
    return True


def account() -> pwd.struct_passwd:
    """The system user for servers that root starts, made at first use."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", ACCOUNT]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    return pwd.getpwnam(FALLBACK_ACCOUNT)


def _elsewhere(name: str) -> Path:
    for parent in STATE_DIRECTORIES:
        try:
            parent.mkdir(mode=0o755, exist_ok=True)
            root = Path(tempfile.mkdtemp(prefix=f"{name or 'root'}-", dir=parent))
        except OSError:
            continue
        root.chmod(0o711)
        return root
    raise Unavailable("no folder for embedded servers' data: /var/lib and /var/tmp are read-only")
