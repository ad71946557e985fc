"""A whole data set through a model, shard by shard, by any number of processes.

```python
config = slm_lens.read_run_config("run.yaml")
run = slm_lens.run_corpus(config)
slm_lens.measure_phases(run.word_lens()).summary()
```

1. Keys and words of all items are read once, without sound (`plan`).
2. Items are divided into shards of fixed size, in order. A process takes a shard that is neither
   done nor taken, reads its items in threads while the model runs an earlier one, and runs the
   model over items of like length together.
3. The rows of the shard are written to temporary files, which then get their names.

What a shard holds depends on config, model and data alone. So a run that was killed goes on with
the shards that are missing, and ends as one that was not.
"""

import resource
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

import polars as pl
import torch

from slm_lens._console import step_progress
from slm_lens.corpus.batches import batches, padding_share
from slm_lens.corpus.dataset import ITEM_ERRORS, Dataset, Item
from slm_lens.corpus.manifest import FILE, manifest_of, settle_manifest
from slm_lens.corpus.open_dataset import open_dataset
from slm_lens.corpus.open_run import CorpusRun, open_run
from slm_lens.corpus.phases_kind import PhasesKind, ReadyItem
from slm_lens.corpus.plan import RunPlan, fingerprint_of, read_plan, scan
from slm_lens.corpus.reading import ItemFailure, ItemReader, failure_of
from slm_lens.corpus.run_config import ModelConfig, RunConfig
from slm_lens.corpus.run_folder import RunFolder
from slm_lens.corpus.tables import ERRORS, ITEMS
from slm_lens.errors import RunError
from slm_lens.model.hooked import HookedSLM
from slm_lens.model.load import load

_AHEAD = 2
"""Shards that a process holds: one runs, the next is read."""

_WAIT_S = 0.5


def run_corpus(
    config: RunConfig, *, model: HookedSLM | None = None, progress: bool = False
) -> CorpusRun:
    """Run a model over a data set; goes on where an earlier run of the same config stopped.

    Args:
        config: what to do.
        model: the model, if it is loaded already; what the config says of it is then only kept.
        progress: show a progress bar, on a terminal.

    Returns:
        The finished run.

    Raises:
        RunError: the folder is another run's, the disk is full, or, if the config is strict, an
            item cannot be read.
        LookupError: the data or the model are not there.
        VocabError: the model has no text.
        ValueError: data and kind do not fit together, or an option is refused.
        AttributeError: the data have sound, and the model no unit tokenizer.
    """  # noqa: DOC502 (raised by the parts)
    data = open_dataset(config.data, config.limits)
    if not data.has_words:
        raise ValueError(
            f"run_corpus: got data of format {config.data.format!r} without word times for the "
            f"kind {config.kind!r}, expected spoken words with times. Name their column, or choose "
            "other data."
        )
    folder = RunFolder(config.out)
    model = _load(config.model) if model is None else model
    tokenizer = model.unit_tokenizer if data.has_sound else None
    plan = _plan(folder, data)
    kind = PhasesKind(model, plan, config)
    n_shards = -(-len(plan.items) // config.items_per_shard)
    about = {
        "n_items": len(plan.items),
        "n_shards": n_shards,
        "fingerprint": plan.fingerprint,
    }
    settle_manifest(folder, manifest_of(config, model, about, kind.facts))
    reader = ItemReader(data, plan, tokenizer, config.n_workers)
    with step_progress("items", len(plan.items), shown=progress) as show:
        try:
            _Worker(config, folder, plan, kind, reader, n_shards, show).work()
        finally:
            reader.close()
    return open_run(folder.path)


def _load(config: ModelConfig) -> HookedSLM:
    return load(
        config.name,
        text_tokenizer=config.text_tokenizer,
        vocab_spec=config.vocab_spec,
        family=config.family,
        adapter=config.adapter,
        unit_tokenizer=config.unit_tokenizer,
        revision=config.revision,
        dtype=None if config.dtype == "stored" else getattr(torch, config.dtype),
        device=config.device,
    )


def _plan(folder: RunFolder, data: Dataset) -> RunPlan:
    """The plan of the run, made now unless the run has begun.

    Raises:
        RunError: the data changed since.
    """
    path = folder.path / "plan.parquet"
    if not (folder.path / FILE).exists():
        folder.write_file(path, scan(data))
        return read_plan(path)
    plan = read_plan(path)
    if fingerprint_of(data) != plan.fingerprint:
        raise RunError(
            f"run_corpus: the data are not those that {folder.path} was begun with (names, order "
            "or sizes differ), expected the same. Put them back, or start in another folder."
        )
    return plan


class _Worker:
    """One process's share of a run."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        plan: RunPlan,
        kind: PhasesKind,
        reader: ItemReader,
        n_shards: int,
        show: Callable[[int, str], None],
    ) -> None:
        self._config, self._folder, self._plan = config, folder, plan
        self._kind, self._reader, self._show = kind, reader, show
        self._left = list(range(n_shards))
        self._held: deque[tuple[int, list[Future[Item | ItemFailure]]]] = deque()
        self._begin_s, self._n_own = time.monotonic(), 0

    def work(self) -> None:
        """Until every shard is done, by this process or another."""
        try:
            while True:
                while len(self._held) < _AHEAD and (shard := self._take()) is not None:
                    self._held.append((shard, self._reader.begin(self._positions(shard))))
                if self._held:
                    shard, futures = self._held[0]
                    self._do(shard, futures)
                    self._held.popleft()
                    self._folder.leases.give_back(shard)
                elif self._left:
                    time.sleep(_WAIT_S)
                else:
                    return
        finally:
            for shard, futures in self._held:
                for future in futures:
                    future.cancel()
                self._folder.leases.give_back(shard)

    def _take(self) -> int | None:
        """The first shard that is neither done nor taken."""
        held = {shard for shard, _ in self._held}
        for shard in [s for s in self._left if s not in held]:
            if self._folder.is_done(shard):
                self._left.remove(shard)
            elif self._folder.take(shard):
                if not self._folder.is_done(shard):
                    return shard
                self._folder.leases.give_back(shard)  # it was done in between
                self._left.remove(shard)
        self._tell()
        return None

    def _positions(self, shard: int) -> range:
        size = self._config.items_per_shard
        return range(shard * size, min((shard + 1) * size, len(self._plan.items)))

    def _do(self, shard: int, futures: list[Future[Item | ItemFailure]]) -> None:
        """Read, run and write one shard."""
        begin_s = time.monotonic()
        ready, failures = self._ready(self._positions(shard), futures)
        read_s = time.monotonic()
        lengths = [x.n_tokens for x in ready]
        groups = batches(lengths, self._config.tokens_per_batch)
        parts: dict[int, pl.DataFrame] = {}
        for group in groups:
            batch = [ready[i] for i in group]
            parts |= self._rows(batch)
            for held, _ in self._held:
                self._folder.leases.touch(held)
        tables = self._tables(ready, failures, parts)
        run_s = time.monotonic()
        self._folder.write_shard(shard, tables)
        self._n_own += len(futures)
        self._folder.log(
            shard=shard,
            n_items=len(ready),
            n_errors=len(failures),
            n_rows=len(tables["words"]),
            n_tokens=sum(lengths),
            padding=round(padding_share(lengths, groups), 4),
            waited_for_items_s=round(read_s - begin_s, 3),
            model_s=round(run_s - read_s, 3),
            write_s=round(time.monotonic() - run_s, 3),
            **_memory(),
        )
        self._left.remove(shard)
        self._tell()

    def _ready(
        self, positions: range, futures: list[Future[Item | ItemFailure]]
    ) -> tuple[list[ReadyItem], list[ItemFailure]]:
        """Items that the model can run, and the others.

        Raises:
            RunError: an item cannot be read, and the config is strict.
        """
        ready, failures = [], []
        for position, future in zip(positions, futures, strict=True):
            item = future.result()
            if isinstance(item, Item):
                key = self._plan.key(position)
                try:
                    ready.append(self._kind.ready(position, key.name, item))
                    continue
                except ITEM_ERRORS as error:
                    item = failure_of(position, key, "sequence", error)
            if self._config.strict:
                raise RunError(
                    f"run_corpus: item {item.name!r} ({item.place}) cannot be used at the stage "
                    f"{item.stage!r}: {item.reason} Without `strict` the run goes on without it."
                )
            failures.append(item)
        return ready, failures

    def _rows(self, batch: list[ReadyItem]) -> dict[int, pl.DataFrame]:
        """Rows of each item of a batch, by position."""
        rows = self._kind.rows(batch)
        per_word = len(rows) // sum(len(x.words) for x in batch)
        found, start = {}, 0
        for x in batch:
            n_rows = per_word * len(x.words)
            found[x.position] = rows.slice(start, n_rows)
            start += n_rows
        return found

    @staticmethod
    def _tables(
        ready: list[ReadyItem], failures: list[ItemFailure], parts: dict[int, pl.DataFrame]
    ) -> dict[str, pl.DataFrame]:
        words = [parts[x.position] for x in ready]
        return {
            "words": pl.concat(words, rechunk=True) if words else pl.DataFrame(),
            "errors": pl.DataFrame([asdict(f) for f in failures], schema=ERRORS),
            "items": pl.DataFrame([_about(x) for x in ready], schema=ITEMS, orient="row"),
        }

    def _tell(self) -> None:
        """Show the progress of all processes and the rate of this one."""
        size, n_items = self._config.items_per_shard, len(self._plan.items)
        rate = self._n_own / max(time.monotonic() - self._begin_s, 1e-9)
        self._show(max(0, n_items - size * len(self._left)), f"{rate:.1f} items/s")


def _about(x: ReadyItem) -> tuple[Any, ...]:
    n_words = len(x.utterance.sequence.words)
    return (x.position, x.utterance.name, x.n_tokens, n_words, x.without_position)


def _memory() -> dict[str, float]:
    """Peak memory of this process in MB."""
    found = {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if torch.cuda.is_available():
        found["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 1) for name, value in found.items()}
