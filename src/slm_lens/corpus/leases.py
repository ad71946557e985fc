"""Who works on which shard, told by files that are created exclusively.

A lease saves work: two processes that held one shard would write the same rows, each to a
temporary name of its own. It holds host, process and the time at which the process started, so
that the lease of a dead process of this host is known for stale. One of another host is stale when
it was not touched for `STALE_AFTER_S`.
"""

import json
import os
import socket
import time
from pathlib import Path

STALE_AFTER_S = 900.0
"""Seconds without a touch after which the lease of another host counts as left behind."""


class Leases:
    """Leases of this process in one folder.

    Args:
        folder: made if needed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._me = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
        }

    def take(self, shard: int) -> bool:
        """Take a shard, unless a living process has it.

        Args:
            shard: which one.

        Returns:
            Whether it is this process's now.
        """
        path = self._path(shard)
        if self._create(path):
            return True
        held = _content(path)
        if held is None:  # given back just now
            return self._create(path)
        if not self._is_stale(path, held):
            return False
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return self._create(path)
        if _content(aside) != held:  # another process was faster, and its lease is a living one
            self._put_back(aside, path)
            return False
        aside.unlink(missing_ok=True)
        return self._create(path)

    def touch(self, shard: int) -> None:
        """Say that this process is still at work.

        Args:
            shard: a shard of this process.
        """
        path = self._path(shard)
        if path.exists():
            os.utime(path)

    def give_back(self, shard: int) -> None:
        """End a lease.

        Args:
            shard: a shard of this process.
        """
        path = self._path(shard)
        if _content(path) == self._text():
            path.unlink(missing_ok=True)

    def _path(self, shard: int) -> Path:
        return self._folder / f"{shard:06d}.lease"

    def _text(self) -> str:
        return json.dumps(self._me)

    def _create(self, path: Path) -> bool:
        """Make the file with its content at once: a link to a file that is whole."""
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_text(self._text(), encoding="utf-8")
        return self._put_back(part, path)

    @staticmethod
    def _put_back(part: Path, path: Path) -> bool:
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def _is_stale(self, path: Path, held: str) -> bool:
        try:
            of = json.loads(held)
            host, pid, started = of["host"], int(of["pid"]), of["started"]
        except (ValueError, TypeError, KeyError):
            return True  # no process writes this
        if host == self._me["host"]:
            return not is_alive(pid) or _started(pid) != started
        try:
            return time.time() - path.stat().st_mtime > STALE_AFTER_S
        except FileNotFoundError:
            return False


def is_alive(pid: int) -> bool:
    """Whether a process of this host is there.

    Args:
        pid: its number.

    Returns:
        True also for one of another user.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _started(pid: int) -> str:
    """Start of a process in ticks of the host; empty where the system does not say."""
    # It tells a process from an earlier one of the same number.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
