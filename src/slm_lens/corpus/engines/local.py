"""This process runs shards; any number of processes may do so at once, told apart by leases."""

import time
from collections import deque
from collections.abc import Callable

from slm_lens.corpus.session import RunSession
from slm_lens.corpus.shard_runner import ShardRunner

_AHEAD = 2
"""Shards that a process holds: one runs, the next is read."""

_WAIT_S = 0.5


def run_here(session: RunSession, show: Callable[[int, str], None]) -> None:
    """Work until every shard is done, by this process or another.

    Args:
        session: the run.
        show: told of the items that are done, and the rate.

    Raises:
        RunError: the disk is full; or an item cannot be read, and the config is strict.
    """  # noqa: DOC502 (raised by the parts)
    _Worker(session, show).work()


class _Worker:
    """One process's share of a run."""

    def __init__(self, session: RunSession, show: Callable[[int, str], None]) -> None:
        self._session, self._show = session, show
        self._runner = ShardRunner(session, self._touch)
        done = session.folder.shards_done()
        self._left = [s for s in range(session.n_shards) if s not in done]
        self._held: deque[int] = deque()
        self._begin_s, self._n_own = time.monotonic(), 0

    def work(self) -> None:
        """Until every shard is done."""
        leases = self._session.folder.leases
        try:
            while True:
                while len(self._held) < _AHEAD and (shard := self._take()) is not None:
                    self._held.append(shard)
                    self._runner.begin(shard)
                if self._held:
                    shard = self._held[0]
                    self._n_own += self._runner.finish(shard)
                    self._left.remove(shard)
                    self._tell()
                    self._held.popleft()
                    leases.give_back(shard)
                elif self._left:
                    time.sleep(_WAIT_S)
                else:
                    return
        finally:
            self._runner.begin_only([])
            for shard in self._held:
                leases.give_back(shard)

    def _take(self) -> int | None:
        """The first shard that is neither done nor taken."""
        folder = self._session.folder
        for shard in [s for s in self._left if s not in self._held]:
            if folder.is_done(shard):
                self._left.remove(shard)
            elif folder.leases.take(shard):
                if not folder.is_done(shard):
                    return shard
                folder.leases.give_back(shard)  # it was done in between
                self._left.remove(shard)
        self._tell()
        return None

    def _touch(self) -> None:
        for shard in self._held:
            self._session.folder.leases.touch(shard)

    def _tell(self) -> None:
        """Show the progress of all processes and the rate of this one."""
        n_left = sum(len(self._session.positions(s)) for s in self._left)
        rate = self._n_own / max(time.monotonic() - self._begin_s, 1e-9)
        self._show(len(self._session.plan.items) - n_left, f"{rate:.1f} items/s")
