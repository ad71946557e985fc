"""Ranks, shares and next units of the words of one utterance, layer by layer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.targets import WordTargets
from slm_lens.readout.modality import (
    argmax_modality,
    modality_mass,
    modality_of_rows,
    top_k_modality,
)
from slm_lens.readout.pooling import POOLS, Pool, mean_over_words, pool_words
from slm_lens.readout.ranks import NO_TARGET, ranks_of_targets, target_tensor
from slm_lens.vocab import SpeechTextVocab

VOCABS = ("text", "full")


@dataclass(frozen=True, eq=False)
class WordReadout:
    """Numbers of the words of one utterance; the first two axes are word and layer.

    Attributes:
        ranks: by (vocab, pool), ``[n_words, layer, n_sets]``; sets are current, next, then
            ``n_draws`` each of shuffled current, matched current, shuffled next, matched next.
        shares: ``[n_words, layer, 9]``: mass, argmax and top 10, each of text, speech, other.
        unit_rank: ``[n_words, layer]``, 0 where no unit follows the last position.
        unit_reciprocal_rank: ``[n_words, layer]``, NaN where no unit follows any position.
        unit_hit: ``[n_words, layer]``, NaN likewise.
    """

    ranks: dict[tuple[str, Pool], np.ndarray]
    shares: np.ndarray
    unit_rank: np.ndarray
    unit_reciprocal_rank: np.ndarray
    unit_hit: np.ndarray


class WordReader:
    """Reads words from a residual stack, a bounded number of positions at a time."""

    def __init__(
        self, vocab: SpeechTextVocab, lens: LogitLens, n_draws: int, chunk_positions: int
    ) -> None:
        self.lens = lens
        self._n_draws, self._chunk_positions = n_draws, chunk_positions
        self._modality = modality_of_rows(vocab)
        everything = torch.ones(vocab.d_vocab, dtype=torch.bool)
        self._words_in = torch.stack([vocab.mask("text"), everything])  # in step with VOCABS
        self._speech = vocab.mask("speech")
        self._units_in = torch.stack([self._speech, everything])

    def read(
        self,
        stack: Float[Tensor, "layer pos d_model"],
        tokens: Int[Tensor, " pos"],
        words: list[WordTargets],
    ) -> WordReadout:
        """Everything about the words of one utterance.

        Args:
            stack: the utterance's residual stack, without padding.
            tokens: its token ids.
            words: its words, in order.

        Returns:
            The numbers of its words.
        """
        chunks = [self._read_chunk(stack, tokens, c) for c in self._chunks(words)]
        return WordReadout(
            ranks={key: np.concatenate([c.ranks[key] for c in chunks]) for key in chunks[0].ranks},
            shares=np.concatenate([c.shares for c in chunks]),
            unit_rank=np.concatenate([c.unit_rank for c in chunks]),
            unit_reciprocal_rank=np.concatenate([c.unit_reciprocal_rank for c in chunks]),
            unit_hit=np.concatenate([c.unit_hit for c in chunks]),
        )

    def _chunks(self, words: list[WordTargets]) -> Iterator[list[WordTargets]]:
        chunk: list[WordTargets] = []
        held = 0
        for w in words:
            n_positions = w.span.end - w.span.start
            if chunk and held + n_positions > self._chunk_positions:
                yield chunk
                chunk, held = [], 0
            chunk.append(w)
            held += n_positions
        yield chunk

    def _read_chunk(
        self,
        stack: Float[Tensor, "layer pos d_model"],
        tokens: Int[Tensor, " pos"],
        words: list[WordTargets],
    ) -> WordReadout:
        device = stack.device
        positions = torch.cat([torch.arange(w.span.start, w.span.end) for w in words])
        ends = torch.tensor([w.span.end - w.span.start for w in words]).cumsum(0)
        spans = torch.stack([torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]]), ends], 1)
        targets = target_tensor([self._sets(w) for w in words]).to(device)
        following = self._following_units(tokens, positions).to(device)
        modality = self._modality.to(device)
        layers = []
        for residual in stack[:, positions.to(device)]:
            logits = self.lens(residual)
            ranks = {}
            for pool in POOLS:
                pooled = pool_words(logits, spans, pool)
                both = ranks_of_targets(pooled, targets, self._words_in.to(device))
                ranks.update(
                    {(v, pool): r.cpu().numpy() for v, r in zip(VOCABS, both, strict=True)}
                )
            shares = torch.cat(
                [
                    modality_mass(logits, modality),
                    argmax_modality(logits, modality),
                    top_k_modality(logits, modality, 10),
                ],
                dim=1,
            )
            unit_ranks = ranks_of_targets(logits, following, self._units_in.to(device))[:, :, 0]
            layers.append((ranks, mean_over_words(shares, spans).cpu().numpy(), unit_ranks.cpu()))
        units = [_next_units(r, spans) for _, _, r in layers]
        return WordReadout(
            ranks={k: np.stack([r[k] for r, _, _ in layers], 1) for k in layers[0][0]},
            shares=np.stack([s for _, s, _ in layers], 1),
            unit_rank=np.stack([u[0] for u in units], 1),
            unit_reciprocal_rank=np.stack([u[1] for u in units], 1),
            unit_hit=np.stack([u[2] for u in units], 1),
        )

    def _sets(self, word: WordTargets) -> list[tuple[int, ...]]:
        controls = (
            word.shuffled_current,
            word.matched_current,
            word.shuffled_next,
            word.matched_next,
        )
        nothing = ((),) * self._n_draws
        return [word.current, word.following, *(s for c in controls for s in (c or nothing))]

    def _following_units(
        self, tokens: Int[Tensor, " pos"], positions: Int[Tensor, " n_positions"]
    ) -> Int[Tensor, "n_positions 1 1"]:
        """Token after each position where that is a speech token."""
        after = torch.cat([tokens[1:].cpu(), torch.tensor([NO_TARGET])])[positions]
        is_unit = (after != NO_TARGET) & self._speech[after]
        return after.where(is_unit, torch.tensor(NO_TARGET))[:, None, None]


def _next_units(
    ranks: Int[Tensor, "2 n_positions"], spans: Int[Tensor, "n_words 2"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank after each word's last position, mean reciprocal rank, and share of rank 1 overall."""
    within, overall = ranks.double().numpy()
    known = within > 0
    reciprocal, hit = np.full(len(spans), np.nan), np.full(len(spans), np.nan)
    for i, (start, end) in enumerate(spans.tolist()):
        here = np.arange(start, end)[known[start:end]]
        if len(here):
            reciprocal[i] = (1 / within[here]).mean()
            hit[i] = (overall[here] == 1).mean()
    return within[spans[:, 1].numpy() - 1].astype(np.int64), reciprocal, hit
