"""What a process needs to run shards of a run: data, model, plan, kind; opened the same by all."""

from collections.abc import Iterator
from typing import Any

import torch

from slm_lens.corpus.dataset import Dataset
from slm_lens.corpus.items import AnyItem
from slm_lens.corpus.kinds.cache import CacheKind
from slm_lens.corpus.kinds.kind import Kind, KindInput
from slm_lens.corpus.kinds.patch import PatchKind
from slm_lens.corpus.kinds.phases import PhasesKind
from slm_lens.corpus.kinds.score import ScoreKind
from slm_lens.corpus.kinds.trace import TraceKind
from slm_lens.corpus.manifest import manifest_of, read_manifest, settle_manifest
from slm_lens.corpus.open_dataset import open_dataset
from slm_lens.corpus.plan import RunPlan, fingerprint_of, read_plan, scan
from slm_lens.corpus.reading import ItemFailure, ItemReader
from slm_lens.corpus.run_config import ModelConfig, RunConfig
from slm_lens.corpus.run_folder import MANIFEST, PLAN, RunFolder
from slm_lens.errors import RunError
from slm_lens.model.hooked import HookedSLM
from slm_lens.model.load import load

_KINDS: dict[str, Any] = {
    "phases": PhasesKind,
    "score": ScoreKind,
    "patch": PatchKind,
    "trace": TraceKind,
    "cache": CacheKind,
}


class RunSession:
    """A run that is open in this process.

    Args:
        config: what to do.
        model: the model, if it is loaded already.
        data: the data set, if it is open already.

    Attributes:
        config: what to do.
        folder: where rows go.
        plan: the items.
        kind: makes rows of them.
        reader: reads them.
        n_shards: in how many files.

    Raises:
        RunError: the folder is another run's, or the disk is full.
        LookupError: the data or the model are not there.
        VocabError: the model has no text.
        ValueError: data and kind do not fit together, or an option is refused.
        AttributeError: the data have sound, and the model no unit tokenizer.
    """

    def __init__(
        self, config: RunConfig, model: HookedSLM | None = None, data: Dataset | None = None
    ) -> None:
        kind = _KINDS[config.kind]
        data = open_dataset(config.data, config.limits) if data is None else data
        _require_fit(config, data, kind)
        self.config, self.folder = config, RunFolder(config.out, config.kind)
        model = load_model(config.model) if model is None else model
        tokenizer = model.unit_tokenizer if data.has_sound else None
        begun = self.folder.store.exists(MANIFEST)
        settled = read_manifest(self.folder.store) if begun else None
        self.plan = self._plan(data, begun=begun, with_words=kind.needs_words(config.options))
        self.n_shards = -(-len(self.plan.items) // config.items_per_shard)
        self.reader = ItemReader(data, self.plan, tokenizer, config.n_readers)
        facts = None if settled is None else settled["table"]
        self.kind: Kind[Any] = kind(KindInput(model, self.plan, config, self._items, facts))
        about = {
            "n_items": len(self.plan.items),
            "n_shards": self.n_shards,
            "fingerprint": self.plan.fingerprint,
        }
        settle_manifest(self.folder, manifest_of(config, model, about, self.kind.facts))

    def positions(self, shard: int) -> range:
        """Items of a shard.

        Args:
            shard: which one.

        Returns:
            Their positions.
        """
        size = self.config.items_per_shard
        return range(shard * size, min((shard + 1) * size, len(self.plan.items)))

    def close(self) -> None:
        """Stop reading."""
        self.reader.close()

    def _items(self) -> Iterator[tuple[str, AnyItem]]:
        for shard in range(self.n_shards):
            positions = self.positions(shard)
            for position, future in zip(positions, self.reader.begin(positions), strict=True):
                item = future.result()
                if not isinstance(item, ItemFailure):
                    yield self.plan.key(position).name, item

    def _plan(self, data: Dataset, *, begun: bool, with_words: bool) -> RunPlan:
        """The plan of the run, made now unless the run has begun.

        Raises:
            RunError: the data changed since.
        """
        store, place = self.folder.store, f"{self.folder.url}/{PLAN}"
        if not begun:
            store.write(PLAN, scan(data, with_words=with_words))
            return read_plan(store.read(PLAN), place)
        if not store.exists(PLAN):
            raise RunError(
                f"run_corpus: {place} is gone, expected the plan of the run that was begun there. "
                "Start again in a new folder."
            )
        plan = read_plan(store.read(PLAN), place)
        if fingerprint_of(data) != plan.fingerprint:
            raise RunError(
                f"run_corpus: the data are not those that {self.folder.url} was begun with "
                "(names, order or sizes differ), expected the same. Put them back, or start in "
                "another folder."
            )
        return plan


def load_model(config: ModelConfig) -> HookedSLM:
    """The model of a configuration.

    Args:
        config: what to load.

    Returns:
        The model.
    """
    memory = None
    if config.max_memory is not None:
        memory = {int(k) if k.isdigit() else k: v for k, v in config.max_memory.items()}
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
        device_map=config.device_map,
        max_memory=memory,
    )


def _require_fit(config: RunConfig, data: Dataset, kind: Any) -> None:
    """Refuse data that the kind of run cannot use.

    Raises:
        ValueError: saying why.
    """
    if data.holds != kind.holds:
        raise ValueError(
            f"run_corpus: got data of format {config.data.format!r}, which hold {data.holds}, for "
            f"the kind {config.kind!r}, expected data that hold {kind.holds}. See docs/corpus.md."
        )
    if kind.needs_words(config.options) and not data.has_words:
        raise ValueError(
            f"run_corpus: got data of format {config.data.format!r} without word times for the "
            f"kind {config.kind!r}, expected spoken words with times. Name their column, or choose "
            "other data."
        )
