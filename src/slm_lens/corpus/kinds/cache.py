"""A run of the kind ``cache``: activations of any hook points, at positions or of words."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.corpus.items import AnyItem, Holds, Item
from slm_lens.corpus.kind_options import CacheOptions
from slm_lens.corpus.kinds.kind import KindInput, ReadyItem, require_context
from slm_lens.corpus.run_folder import Content
from slm_lens.corpus.tables import ACTIVATIONS
from slm_lens.errors import RunError
from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import Autocast, choose_forward, provenance_of, stack_and_check
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence

SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "start": pl.Int32,
    "end": pl.Int32,
    "token": pl.Int32,
    "kind": pl.String,
    "word_index": pl.Int32,
    "word": pl.String,
}
_Row = tuple[int, int, int | None, str, int | None, str | None]


class CacheKind:
    """Makes activations of items.

    Args:
        given: model and config.

    Raises:
        ValueError: no hook point has such a name, or the forward pass cannot run.
    """

    holds: ClassVar[Holds] = "clips"

    def __init__(self, given: KindInput) -> None:
        self._model, self._options = given.model, given.config.options
        self._autocast: Autocast | None = given.config.autocast
        self._hooks = hooks_named(given.model, self._options.hooks)
        _require_positions(given.model, self._hooks)
        self._streams = _streams(given.model)
        of_stream = set(self._hooks) <= self._streams.keys()
        # What is inside a block only the bridge shows.
        forward = given.config.forward if of_stream else "hooked"
        self._forward = choose_forward(given.model, forward, "run_corpus")
        self._lens = LogitLens(given.model)
        provenance = provenance_of(given.model, self._forward, self._autocast)
        self.facts: dict[str, Any] = {
            "provenance": asdict(provenance),
            "hooks": self._hooks,
            "at": self._options.at,
            "dtype": self._options.dtype,
        }

    @classmethod
    def needs_words(cls, options: CacheOptions) -> bool:  # noqa: ARG003 (of every kind)
        """Whether items need word times.

        Args:
            options: of the kind.

        Returns:
            False: text has words without times, and an item without words is told by itself.
        """
        return False

    def ready(self, position: int, name: str, item: AnyItem) -> ReadyItem[SpeechTextSequence]:
        """An item as the model reads it.

        Args:
            position: which item of the run.
            name: its name.
            item: units, or text.

        Returns:
            The item.

        Raises:
            ValueError: it does not fit into the model's context, or has nothing to keep.
        """
        assert isinstance(item, Item)
        if item.units is not None:
            sequence = self._model.sequence_from_units(item.units, item.alignment)
        else:
            sequence = self._model.sequence_from_text(str(item.text))
        require_context(len(sequence), self._model)
        if not _rows(sequence, self._options.at):
            raise ValueError(
                f"found no word with a position among {len(sequence.words)} words, expected at "
                "least one to keep. Does the item have word times, in seconds?"
            )
        without = tuple(w.word for w in sequence.words if w.start == w.end)
        n_words = len(sequence.words)
        return ReadyItem(position, name, len(sequence), sequence, n_words, without)

    def rows(self, batch: Sequence[ReadyItem[SpeechTextSequence]]) -> list[dict[str, Content]]:
        """Run the model once.

        Args:
            batch: items that run together.

        Returns:
            What is kept of each item, and its activations in the same order.
        """
        states = self._states([x.work for x in batch])
        found = list[dict[str, Content]]()
        for i, x in enumerate(batch):
            kept = _rows(x.work, self._options.at)
            table = pl.DataFrame([(x.name, *row) for row in kept], schema=SCHEMA, orient="row")
            spans = [(start, end) for start, end, *_ in kept]
            tensors = {h: self._stored(h, states[h][i], spans) for h in self._hooks}
            found.append({"positions": table, ACTIVATIONS: tensors})
        return found

    def _stored(
        self, hook: str, states: Float[Tensor, "pos ..."], spans: Sequence[tuple[int, int]]
    ) -> Float[Tensor, "n_kept ..."]:
        """Means over spans, in the dtype on disk.

        Raises:
            RunError: a number does not fit the dtype.
        """
        rows = torch.stack([states[a:b].float().mean(0) if b - a > 1 else states[a]
                            for a, b in spans])  # fmt: skip
        rows = rows.to("cpu", getattr(torch, self._options.dtype)).contiguous()
        if not rows.isfinite().all():
            raise RunError(
                f"run_corpus: {hook} has values that are not finite in {self._options.dtype}, "
                "expected numbers. Set cache.dtype to float32 or bfloat16."
            )
        return rows

    @torch.no_grad()
    def _states(self, sequences: Sequence[SpeechTextSequence]) -> dict[str, Tensor]:
        """Activations ``[batch, pos, ...]`` by hook."""
        rows = [s.tokens for s in sequences]
        pad = torch.nn.utils.rnn.pad_sequence
        tokens = pad(rows, batch_first=True)
        real = pad([torch.ones_like(r, dtype=torch.bool) for r in rows], batch_first=True)
        if self._forward == "fast":
            stack = stack_and_check(
                self._model, self._lens, tokens, real, forward="fast", autocast=self._autocast
            )
            return {h: stack[self._streams[h]] for h in self._hooks}
        device = torch.device(str(self._model.cfg.device))
        half = None if self._autocast is None else getattr(torch, self._autocast)
        with ONE_AT_A_TIME, torch.autocast(device.type, half, enabled=half is not None):
            _, cache = self._model.run_with_cache(
                tokens.to(device),
                names_filter=list(self._hooks),
                attention_mask=real.long().to(device),
            )
        return {h: cache[h] for h in self._hooks}


def hooks_named(model: HookedSLM, patterns: Sequence[str]) -> list[str]:
    """Hook points that patterns name.

    Args:
        model: the model.
        patterns: names, in which ``*`` stands for anything.

    Returns:
        Names as TransformerLens has them, in the model's order.

    Raises:
        ValueError: a pattern names none.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in model.hook_dict if fnmatchcase(name, pattern)]
        if not matching:
            raise ValueError(
                f"run_corpus: got the hook {pattern!r}, which names none of the model's, expected "
                "names such as 'blocks.0.hook_resid_post' or 'blocks.*.attn.hook_z'. "
                "list(model.hook_dict) has them all."
            )
        found |= dict.fromkeys(matching)
    return list(found)


@torch.no_grad()
def _require_positions(model: HookedSLM, hooks: Sequence[str]) -> None:
    """Refuse hook points that do not fire, or that are not of positions.

    Raises:
        ValueError: naming some.
    """
    tokens = torch.zeros(2, 3, dtype=torch.int64, device=str(model.cfg.device))
    with ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of those that do not fire: told here
        _, cache = model.run_with_cache(tokens, names_filter=list(hooks))
    shapes = {h: tuple(cache[h].shape) if h in cache else () for h in hooks}
    odd = [f"{h} {list(shape) or 'does not fire'}" for h, shape in shapes.items()
           if shape[:2] != tokens.shape]  # fmt: skip
    if odd:
        raise ValueError(
            f"run_corpus: got the hooks {odd[:4]} for tokens of shape [2, 3], expected [batch, "
            "pos, ...]: what does not fire in this model, and what is not of positions, such as a "
            "pattern, cannot be kept. Name others."
        )


def _streams(model: HookedSLM) -> dict[str, int]:
    """Hook points that are layers of the residual stack."""
    n_layers = model.cfg.n_layers
    before = {f"blocks.{layer}.hook_resid_pre": layer for layer in range(n_layers)}
    return before | {f"blocks.{layer}.hook_resid_post": layer + 1 for layer in range(n_layers)}


def _rows(sequence: SpeechTextSequence, at: str) -> list[_Row]:
    """Span, token, kind and word of everything that is kept."""
    tokens, kinds, words = sequence.tokens.tolist(), sequence.kinds, sequence.words
    if at == "positions":
        word_at = {p: i for i, w in enumerate(words) for p in range(w.start, w.end)}
        return [
            (p, p + 1, token, kinds[p], i := word_at.get(p), None if i is None else words[i].word)
            for p, token in enumerate(tokens)
        ]
    found = list[_Row]()
    for i, w in enumerate(words):
        if w.start < w.end:
            start = w.start if at == "words" else w.end - 1
            token = tokens[start] if start + 1 == w.end else None
            found.append((start, w.end, token, kinds[start], i, w.word))
    return found
