"""A pool of processes that hold a model each, on this machine or a cluster, with Ray.

The driver hands out shards and holds no model. Each worker opens the run as any process does
(`RunSession`), so the same folder comes out whoever ran it. A worker that is lost (killed, out of
memory, its machine gone) is replaced, and its shard is done again.
"""

import logging
import os
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from slm_lens._console import step_progress
from slm_lens.corpus.run_config import EngineConfig, RunConfig
from slm_lens.corpus.session import RunSession
from slm_lens.corpus.shard_runner import ShardRunner
from slm_lens.errors import RunError

_AHEAD = 2
"""Shards that a worker is given: one runs, the next is read."""

_HELD_ELSEWHERE_S = 1.0
_OBJECT_STORE_BYTES = 100_000_000  # nothing but shard numbers goes through it


def run_with_ray(config: RunConfig, *, progress: bool) -> None:
    """Work until every shard is done.

    Args:
        config: what to do.
        progress: show a progress bar, on a terminal.

    Raises:
        RunError: more workers were lost than the config allows; or as a worker says.
        ImportError: Ray is not installed.
        ValueError: this machine has not the GPUs that are asked for.
    """  # noqa: DOC502 (raised by the parts)
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "run_corpus: the engine 'ray' needs Ray: pip install 'slm-lens[ray]'. The engine "
            "'local' needs nothing, and may be started several times at once."
        ) from error
    with _Connection(ray, config.engine), ExitStack() as stack:
        _Pool(ray, config, stack, progress).work()


class _Connection:
    """Ray, started or joined unless the caller has done so; left as it was."""

    def __init__(self, ray: Any, engine: EngineConfig) -> None:
        self._ray, self._engine = ray, engine
        self._ours = not ray.is_initialized()

    def __enter__(self) -> None:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise

    def _start(self) -> None:
        if not self._ours:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._engine.address is not None:
            self._ray.init(address=self._engine.address, **quiet)
            return
        needed = self._engine.n_workers * self._engine.cpus_per_worker
        self._ray.init(
            num_cpus=max(needed, os.cpu_count() or 1),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
        n_gpus = self._ray.cluster_resources().get("GPU", 0)
        if self._engine.n_workers * self._engine.gpus_per_worker > n_gpus:
            raise ValueError(
                f"run_corpus: got {self._engine.n_workers} workers with "
                f"{self._engine.gpus_per_worker:g} GPUs each, expected at most the {n_gpus:g} GPUs "
                "of this machine: they would wait for ever. Lower gpus_per_worker to share a GPU, "
                "or name the address of a cluster."
            )

    def __exit__(self, *_: object) -> None:
        if self._ours:
            self._ray.shutdown()


class RunSize(NamedTuple):
    """Items in each shard, and the shards that are done."""

    n_items: list[int]
    done: set[int]


class ShardWorker:
    """What runs in a process of the pool.

    Args:
        config: what to do.
    """

    def __init__(self, config: RunConfig) -> None:
        torch.set_num_threads(config.engine.cpus_per_worker)
        self._config = config
        self._held: int | None = None

    def open(self) -> "RunSize":
        """Load the model, and see what there is to do.

        Returns:
            Items and shards.
        """
        session = self._session = RunSession(self._config)
        self._runner = ShardRunner(session, self._touch)
        sizes = [len(session.positions(s)) for s in range(session.n_shards)]
        return RunSize(sizes, session.folder.shards_done())

    def run(self, shard: int, ahead: int | None, anyway: bool) -> bool:
        """Do a shard, while the next one is read.

        Args:
            shard: which one.
            ahead: what this worker is likely given next.
            anyway: whether the worker that had it is gone.

        Returns:
            False if another process has it.
        """
        folder = self._session.folder
        if folder.is_done(shard):
            return True
        if not folder.leases.take(shard, anyway=anyway):
            time.sleep(_HELD_ELSEWHERE_S)  # it is asked again
            return False
        self._held = shard
        try:
            self._runner.begin_only([shard] if ahead is None else [shard, ahead])
            if not folder.is_done(shard):
                self._runner.finish(shard)
        finally:
            self._held = None
            folder.leases.give_back(shard)
        return True

    def _touch(self) -> None:
        if self._held is not None:
            self._session.folder.leases.touch(self._held)


@dataclass(eq=False)
class _Seat:
    """A place in the pool, and what its worker was given."""

    actor: Any
    given: deque[int] = field(default_factory=deque)


class _Pool:
    """Hands out shards."""

    def __init__(self, ray: Any, config: RunConfig, stack: ExitStack, progress: bool) -> None:
        self._ray, self._config = ray, config
        self._stack, self._progress = stack, progress
        engine = config.engine
        self._make = ray.remote(ShardWorker).options(
            num_cpus=engine.cpus_per_worker, num_gpus=engine.gpus_per_worker, max_restarts=0
        )
        self._busy: dict[Any, _Seat] = {}
        self._idle: list[_Seat] = []
        self._sizes: list[int] | None = None
        self._waiting: deque[int] = deque()
        self._of_the_lost: set[int] = set()
        self._n_lost = self._n_done = self._n_own = 0
        self._begin_s = time.monotonic()

    def work(self) -> None:
        """Until every shard is done."""
        # All start at once, and import what takes seconds; the first one makes plan and manifest.
        first, *self._idle = (self._new() for _ in range(self._config.engine.n_workers))
        self._open(first)
        try:
            while self._busy:
                ready, _ = self._ray.wait(list(self._busy), num_returns=1)
                seat = self._busy.pop(ready[0])
                try:
                    self._hear(seat, self._ray.get(ready[0]))
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except self._ray.exceptions.RayActorError as error:
                    self._lose(seat, error)
        finally:
            for seat in (*self._busy.values(), *self._idle):
                self._ray.kill(seat.actor)

    def _new(self) -> _Seat:
        return _Seat(self._make.remote(self._config))

    def _open(self, seat: _Seat) -> None:
        self._busy[seat.actor.open.remote()] = seat

    def _hear(self, seat: _Seat, said: RunSize | bool) -> None:
        """What a worker answered: what there is to do, or whether it did its shard."""
        if isinstance(said, bool):
            self._note(seat.given.popleft(), did=said)
        elif self._sizes is None:
            self._begin(said)
        self._give(seat)

    def _begin(self, size: RunSize) -> None:
        self._sizes = size.n_items
        self._waiting = deque(s for s in range(len(self._sizes)) if s not in size.done)
        self._n_done = sum(self._sizes[s] for s in size.done)
        bar = step_progress("items", sum(self._sizes), shown=self._progress)
        self._show = self._stack.enter_context(bar)
        while self._idle:
            self._open(self._idle.pop())

    def _note(self, shard: int, *, did: bool) -> None:
        assert self._sizes is not None
        if not did:
            self._waiting.append(shard)  # another process has it: look again later
            return
        self._n_done += self._sizes[shard]
        self._n_own += self._sizes[shard]
        rate = self._n_own / max(time.monotonic() - self._begin_s, 1e-9)
        self._show(self._n_done, f"{rate:.1f} items/s")

    def _give(self, seat: _Seat) -> None:
        """The next shard of a worker, which may go if there is none left."""
        while len(seat.given) < _AHEAD and self._waiting:
            seat.given.append(self._waiting.popleft())
        if not seat.given:
            self._take_over(seat)
        if not seat.given:
            self._ray.kill(seat.actor)
            return
        shard, *ahead = seat.given
        anyway = shard in self._of_the_lost
        asked = seat.actor.run.remote(shard, ahead[0] if ahead else None, anyway)
        self._busy[asked] = seat

    def _take_over(self, seat: _Seat) -> None:
        """A shard that another worker was given and has not begun."""
        longest = max(self._busy.values(), key=lambda s: len(s.given), default=None)
        if longest is not None and len(longest.given) == _AHEAD:
            seat.given.append(longest.given.pop())

    def _lose(self, seat: _Seat, error: Exception) -> None:
        """Replace a worker.

        Raises:
            RunError: that was one too many.
        """
        self._n_lost += 1
        if self._n_lost > self._config.engine.n_retries:
            raise RunError(
                f"run_corpus: lost {self._n_lost} workers ({str(error).splitlines()[0]}), expected "
                f"at most n_retries={self._config.engine.n_retries}. All shards that are done are "
                "kept. Does each have memory enough? Then run the same command again."
            ) from None
        self._of_the_lost |= set(seat.given)
        self._waiting.extendleft(reversed(seat.given))
        self._open(self._new())
