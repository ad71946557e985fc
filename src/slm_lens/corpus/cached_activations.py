"""Activations that a run of the kind ``cache`` has kept, some at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor

from slm_lens.corpus.run_folder import shard_name
from slm_lens.corpus.store import Store
from slm_lens.corpus.tables import ACTIVATIONS
from slm_lens.model.provenance import Provenance


@dataclass(frozen=True, eq=False)
class CachedActivations:
    """Activations beside the table that says what each of them is of.

    ::

        cached = slm_lens.open_run("runs/cache").activations()
        for positions, states in cached.shards("blocks.3.hook_resid_post"):
            train_on(states)  # [n_rows, d_model], and positions["kind"], positions["word"] ...

    Attributes:
        hooks: names of the hook points, as TransformerLens has them.
        at: "positions", "words" (means) or "word_ends".
        dtype: dtype on disk.
        provenance: what the numbers depend on.
    """

    hooks: tuple[str, ...]
    at: str
    dtype: str
    provenance: Provenance
    _store: Store
    _numbers: tuple[int, ...]

    def shards(self, *hooks: str) -> Iterator[tuple[pl.DataFrame, Mapping[str, Tensor]]]:
        """One shard after another, in the order of the data; nothing else is held.

        Args:
            *hooks: which hook points; all of them if none is named.

        Yields:
            The rows of the table ``positions``, and for each hook point its activations
            ``[n_rows, ...]`` in the same order.

        Raises:
            ValueError: such a hook point was not kept.
        """
        chosen = hooks or self.hooks
        unknown = [h for h in chosen if h not in self.hooks]
        if unknown:
            raise ValueError(
                f"CachedActivations: got the hooks {unknown}, expected some of {self.hooks}."
            )
        for number in self._numbers:
            rows = self._store.scan([shard_name("positions", number)]).collect()
            yield rows, self._tensors(shard_name(ACTIVATIONS, number), chosen)

    def load(self, hook: str) -> tuple[pl.DataFrame, Float[Tensor, "n_rows ..."]]:
        """Everything of one hook point at once.

        Args:
            hook: which one.

        Returns:
            The table ``positions`` and its activations.
        """
        parts = list(self.shards(hook))
        rows = pl.concat([table for table, _ in parts])
        return rows, torch.cat([tensors[hook] for _, tensors in parts])

    def _tensors(self, name: str, hooks: tuple[str, ...]) -> dict[str, Tensor]:
        if self._store.filesystem is not None:
            whole = load(self._store.read(name))
            return {h: whole[h] for h in hooks}
        with safe_open(self._store.location(name), framework="pt") as file:
            return {h: file.get_tensor(h) for h in hooks}
