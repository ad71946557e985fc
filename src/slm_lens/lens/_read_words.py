"""Ranks, shares and next units of the words of one utterance, layer by layer."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.targets import WordTargets
from slm_lens.readout._device import Kernel
from slm_lens.readout.parts import OTHER
from slm_lens.readout.pooling import POOLS, Pool, mean_over_words
from slm_lens.readout.read_out import read_out
from slm_lens.readout.wanted import NO_TARGET, NO_TOKEN, Readout, Wanted, target_sets
from slm_lens.vocab import SpeechTextVocab

MODALITIES = ("text", "speech", "other")
N_TOP = 10
"""Highest tokens of which the shares of the modalities are taken."""

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
        kernel: as in `Readout`.
    """

    ranks: dict[tuple[str, Pool], np.ndarray]
    shares: np.ndarray
    unit_rank: np.ndarray
    unit_reciprocal_rank: np.ndarray
    unit_hit: np.ndarray
    kernel: Kernel


class WordReader:
    """Reads words from a residual stack, in one pass over the vocabulary."""

    def __init__(self, vocab: SpeechTextVocab, lens: LogitLens, n_draws: int) -> None:
        self.lens = lens
        self._n_draws = n_draws
        self._speech = vocab.mask("speech")
        of_part = torch.tensor([MODALITIES.index(_modality(p)) for p in lens.parts.names])
        self._modality = of_part[lens.parts.part_of]

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
        positions = torch.cat([torch.arange(w.span.start, w.span.end) for w in words])
        ends = torch.tensor([w.span.end - w.span.start for w in words]).cumsum(0)
        spans = torch.stack([torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]]), ends], 1)
        of_words = Wanted(frozenset({"rank"}), target_sets([self._sets(w) for w in words]), VOCABS)
        following = self._following_units(tokens, positions)
        of_positions = Wanted(
            frozenset({"rank", "mass", "top_k"}),
            following[None, :, None].expand(len(stack), -1, -1),
            ("speech", "full"),
            k=N_TOP,
        )
        read = read_out(
            stack[:, positions.to(stack.device)],
            self.lens.unembedding,
            self.lens.parts,
            {"max": of_words, "last": of_words, "position": of_positions},
            normalise=self.lens.normed,
            spans=spans,
        )
        here = read["position"]
        shares = mean_over_words(self._shares(here).transpose(0, 1), spans)
        unit_ranks = torch.stack([here.rank["speech"], here.rank["full"]])[..., 0].cpu()
        units = [_next_units(unit_ranks[:, layer], spans) for layer in range(len(stack))]
        return WordReadout(
            ranks={
                (v, pool): read[pool].rank[v].transpose(0, 1).cpu().numpy()
                for v in VOCABS
                for pool in POOLS
            },
            shares=shares.cpu().numpy(),
            unit_rank=np.stack([u[0] for u in units], 1),
            unit_reciprocal_rank=np.stack([u[1] for u in units], 1),
            unit_hit=np.stack([u[2] for u in units], 1),
            kernel=here.kernel,
        )

    def _shares(self, here: Readout) -> Float[Tensor, "layer pos 9"]:
        """Mass, top token and top tokens, each of text, speech and other."""
        nothing = torch.zeros_like(next(iter(here.mass.values())))
        masses = [
            sum((m for part, m in here.mass.items() if _modality(part) == modality), nothing)
            for modality in MODALITIES
        ]
        mass = torch.stack(masses, dim=-1)
        ids = here.top_k["full"].ids
        is_of = functional.one_hot(self._modality.to(ids.device)[ids], 3).float()
        is_token = (ids != NO_TOKEN)[..., None]  # fewer, in a vocabulary of less than ten tokens
        top = (is_of * is_token).sum(-2) / is_token.sum(-2)
        return torch.cat([mass, is_of[..., 0, :], top], dim=-1)

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
    ) -> Int[Tensor, " n_positions"]:
        """Token after each position where that is a speech token."""
        after = torch.cat([tokens[1:].cpu(), torch.tensor([NO_TARGET])])[positions]
        is_unit = (after != NO_TARGET) & self._speech[after]
        return after.where(is_unit, torch.tensor(NO_TARGET))


def _modality(part: str) -> str:
    """Of a part of the vocabulary."""
    return part if part in ("text", OTHER) else "speech"


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
