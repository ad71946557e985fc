"""One shard at a time: its items are read ahead, run in batches, and written."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

import polars as pl
import torch

from slm_lens.corpus.batches import batches, padding_share
from slm_lens.corpus.dataset import ITEM_ERRORS
from slm_lens.corpus.items import AnyItem
from slm_lens.corpus.kinds.kind import ReadyItem
from slm_lens.corpus.reading import ItemFailure, failure_of
from slm_lens.corpus.run_folder import Content
from slm_lens.corpus.session import RunSession
from slm_lens.corpus.tables import ACTIVATIONS, ERRORS, ITEMS, OF_KIND
from slm_lens.errors import RunError

_Futures = list[Future[AnyItem | ItemFailure]]


class ShardRunner:
    """Runs shards of a run in this process.

    Args:
        session: the run.
        between: called between batches, for instance to keep leases alive.
    """

    def __init__(self, session: RunSession, between: Callable[[], None] = lambda: None) -> None:
        self._session, self._between = session, between
        self._begun: dict[int, _Futures] = {}

    def begin(self, shard: int) -> None:
        """Start to read the items of a shard.

        Args:
            shard: which one.
        """
        if shard not in self._begun:
            self._begun[shard] = self._session.reader.begin(self._session.positions(shard))

    def finish(self, shard: int) -> int:
        """Run and write a shard.

        Args:
            shard: which one.

        Returns:
            How many items it has.

        Raises:
            RunError: the disk is full; or an item cannot be used, and the config is strict.
        """  # noqa: DOC502 (raised by the parts)
        self.begin(shard)
        begin_s = time.monotonic()
        ready, failures = self._ready(shard, self._begun[shard])
        del self._begun[shard]
        read_s = time.monotonic()
        lengths = [x.n_tokens for x in ready]
        groups = self._groups(ready)
        found: dict[int, dict[str, Content]] = {}
        for group in groups:
            for i, of_one in zip(group, self._rows([ready[i] for i in group]), strict=True):
                if isinstance(of_one, ItemFailure):
                    failures.append(of_one)
                else:
                    found[i] = of_one
            self._between()
        used = sorted(found)
        failures.sort(key=lambda failure: failure.position)
        contents = self._contents([ready[i] for i in used], failures, [found[i] for i in used])
        run_s = time.monotonic()
        folder = self._session.folder
        folder.write_shard(shard, contents)
        folder.log(
            shard=shard,
            n_items=len(used),
            n_errors=len(failures),
            n_rows=len(contents[OF_KIND[self._session.config.kind][0]]),
            n_tokens=sum(lengths),
            padding=round(padding_share(lengths, groups), 4),
            waited_for_items_s=round(read_s - begin_s, 3),
            model_s=round(run_s - read_s, 3),
            write_s=round(time.monotonic() - run_s, 3),
            **_memory(),
        )
        return len(used) + len(failures)

    def begin_only(self, shards: Sequence[int]) -> None:
        """Start to read some shards, and read no further in all others.

        Args:
            shards: which ones, the next one first.
        """
        for shard in self._begun.keys() - set(shards):
            for future in self._begun.pop(shard):
                future.cancel()
        for shard in shards:
            self.begin(shard)

    def _ready(
        self, shard: int, futures: _Futures
    ) -> tuple[list[ReadyItem[Any]], list[ItemFailure]]:
        """Items that the model can run, and the others.

        Raises:
            RunError: an item cannot be read, and the config is strict.
        """  # noqa: DOC502 (raised by _refuse_if_strict)
        session = self._session
        ready, failures = list[ReadyItem[Any]](), list[ItemFailure]()
        for position, future in zip(session.positions(shard), futures, strict=True):
            item = future.result()
            if not isinstance(item, ItemFailure):
                key = session.plan.key(position)
                try:
                    ready.append(session.kind.ready(position, key.name, item))
                    continue
                except ITEM_ERRORS as error:
                    item = failure_of(position, key, "sequence", error)
            self._refuse_if_strict(item)
            failures.append(item)
        return ready, failures

    def _groups(self, ready: Sequence[ReadyItem[Any]]) -> list[list[int]]:
        """Indices of items that run together."""
        groups = batches([x.n_tokens for x in ready], self._session.config.tokens_per_batch)
        alone = [[i] for i, x in enumerate(ready) if x.alone]
        together = ([i for i in group if not ready[i].alone] for group in groups)
        return [group for group in together if group] + alone

    def _rows(self, batch: Sequence[ReadyItem[Any]]) -> list[dict[str, Content] | ItemFailure]:
        """What each item of a batch gives, or why it gives nothing.

        Raises:
            RunError: no item can be run so; or this one cannot, and the config is strict.
        """
        try:
            return list(self._session.kind.rows(batch))
        except RunError:
            raise
        except ITEM_ERRORS as error:
            if len(batch) > 1:
                return [x for one in batch for x in self._rows([one])]
            position = batch[0].position
            failure = failure_of(position, self._session.plan.key(position), "run", error)
            self._refuse_if_strict(failure)
            return [failure]

    def _refuse_if_strict(self, failure: ItemFailure) -> None:
        """Stop at the first item that cannot be used, if that is wanted.

        Raises:
            RunError: naming it.
        """
        if self._session.config.strict:
            raise RunError(
                f"run_corpus: item {failure.name!r} ({failure.place}) cannot be used at the stage "
                f"{failure.stage!r}: {failure.reason} Without `strict` the run goes on without it."
            )

    def _contents(
        self,
        ready: Sequence[ReadyItem[Any]],
        failures: Sequence[ItemFailure],
        found: Sequence[dict[str, Content]],
    ) -> dict[str, Content]:
        """Every table of the shard."""
        contents: dict[str, Content] = {}
        for table in OF_KIND[self._session.config.kind]:
            parts = [t for x in found if isinstance(t := x[table], pl.DataFrame)]
            contents[table] = pl.concat(parts, rechunk=True) if parts else pl.DataFrame()
        tensors = [t for x in found if not isinstance(t := x.get(ACTIVATIONS, {}), pl.DataFrame)]
        if tensors and tensors[0]:
            contents[ACTIVATIONS] = {h: torch.cat([t[h] for t in tensors]) for h in tensors[0]}
        about = [
            (x.position, x.name, x.n_tokens, x.n_words, list(x.words_without_positions))
            for x in ready
        ]
        contents["errors"] = pl.DataFrame([asdict(f) for f in failures], schema=ERRORS)
        contents["items"] = pl.DataFrame(about, schema=ITEMS, orient="row")
        return contents


def _memory() -> dict[str, float]:
    """Peak memory of this process in MB."""
    per_mb = 2**20 if sys.platform == "darwin" else 1024
    found = {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mb}
    if torch.cuda.is_available():
        found["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 1) for name, value in found.items()}
