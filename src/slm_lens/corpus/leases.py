"""Who works on which shard, told by files that are created exclusively.

A lease saves work, and nothing depends on it: two processes that held one shard would write the
same rows, each in full. It holds host and process with the time at which it started, so that the
lease of a dead process of this host is known for stale, and the time at which it was last touched:
one of another host is stale `STALE_AFTER_S` later.
"""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from slm_lens.corpus.store import Store, is_alive

STALE_AFTER_S = 900.0
"""Seconds without a touch after which the lease of another host counts as left behind."""

_TOUCHED_EVERY_S = 60.0


class Leases:
    """Leases of this process in one store.

    Args:
        store: where the run is written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._me = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
        }
        self._touched_s: dict[int, float] = {}

    def take(self, shard: int, *, anyway: bool = False) -> bool:
        """Take a shard, unless a living process has it.

        Args:
            shard: which one.
            anyway: take it from whoever has it, who is known to be gone.

        Returns:
            Whether it is this process's now.
        """
        name = _name(shard)
        if self._create(shard):
            return True
        held = self._held(name)
        if held is not None:
            if not anyway and not self._is_stale(held):
                return False
            if self._held(name) == held:  # nobody was faster
                self._store.remove(name)
        return self._create(shard)

    def touch(self, shard: int) -> None:
        """Say that this process is still at work.

        Args:
            shard: a shard of this process.
        """
        if time.monotonic() - self._touched_s[shard] > _TOUCHED_EVERY_S:
            self._touched_s[shard] = time.monotonic()
            self._store.write(_name(shard), self._text())

    def give_back(self, shard: int) -> None:
        """End a lease.

        Args:
            shard: a shard of this process.
        """
        held = self._held(_name(shard))
        if held is not None and self._is_mine(held):
            self._store.remove(_name(shard))

    def _create(self, shard: int) -> bool:
        self._touched_s[shard] = time.monotonic()
        return self._store.create(_name(shard), self._text())

    def _held(self, name: str) -> dict[str, Any] | None:
        """What a lease says; empty if no process of ours wrote it, None if there is none."""
        try:
            about = json.loads(self._store.read(name))
            return {"host": about["host"], "pid": int(about["pid"]), "started": about["started"],
                    "touched_s": float(about["touched_s"])}  # fmt: skip
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, RecursionError):
            return {}

    def _text(self) -> bytes:
        return json.dumps(self._me | {"touched_s": time.time()}).encode()

    def _is_mine(self, held: dict[str, Any]) -> bool:
        return {k: v for k, v in held.items() if k != "touched_s"} == self._me

    def _is_stale(self, held: dict[str, Any]) -> bool:
        if not held:
            return True
        if held["host"] == self._me["host"]:
            return not is_alive(held["pid"]) or _started(held["pid"]) != held["started"]
        return time.time() - held["touched_s"] > STALE_AFTER_S


def _name(shard: int) -> str:
    return f"leases/{shard:06d}.lease"


def _started(pid: int) -> str:
    """Start of a process in ticks of the host; empty where the system does not say."""
    # It tells a process from an earlier one of the same number.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
