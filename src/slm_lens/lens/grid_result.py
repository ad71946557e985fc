"""What every layer says at every word and position of one utterance, as data.

A grid holds all that a picture of it needs, labels of tokens included, and no model.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens._pictured import Pictured
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.word_span import WordSpan
from slm_lens.vocab import TokenKind, WordPolicy

GridSite = Literal["max", "last", "position"]
GRID_SITES: tuple[GridSite, ...] = get_args(GridSite)
"""Words by the maximum over their positions, words at their last position, single positions."""

MASSES = ("text", "speech", "other")


@dataclass(frozen=True)
class Followed:
    """What is ranked in every cell: a word of the utterance, or one token.

    Attributes:
        label: the word as written, or the token's label.
        tokens: token ids, of which the best counts; those of a word by the grid's policy.
        is_word: whether it is a word of the utterance.
    """

    label: str
    tokens: tuple[int, ...]
    is_word: bool


@dataclass(frozen=True, eq=False)
class GridCells:
    """The cells of one site. Mappings are by subset of the vocabulary, ``"text"`` or ``"full"``.

    Attributes:
        spans: half-open positions of each row: of its word, or of one position.
        words: number of each row's word in the utterance; None for a position outside words.
        top_ids: the highest tokens of the subset, the highest first; -1 where it has fewer.
        top_log_prob: their log-probabilities within the subset, in nats.
        mass: probability of text, of speech and of the rest under the softmax over everything.
        rank: rank within the subset, from 1, of what is followed; 0 where a token of it is not in
            the subset.
        log_prob: its log-probability within the subset, in nats; NaN where the rank is 0.
    """

    spans: Int[Tensor, "row 2"]
    words: tuple[int | None, ...]
    top_ids: Mapping[str, Int[Tensor, "layer row k"]]
    top_log_prob: Mapping[str, Float[Tensor, "layer row k"]]
    mass: Float[Tensor, "layer row 3"]
    rank: Mapping[str, Int[Tensor, "layer row n_followed"]]
    log_prob: Mapping[str, Float[Tensor, "layer row n_followed"]]

    @property
    def n_layers(self) -> int:
        """Layers, with the embedding."""
        return self.mass.shape[0]

    @property
    def n_rows(self) -> int:
        """Words, or positions."""
        return self.mass.shape[1]


@dataclass(frozen=True, eq=False)
class LensGrid(Pictured):
    """Layers by words and positions of one utterance, through a lens.

    Attributes:
        utterance: its name.
        tokens: its token ids.
        kinds: kind of every position.
        words: its words with their positions and times, spoken and written.
        followed: what is ranked in every cell: its words first, each spelling once.
        word_followed: for each word its number in `followed`; None where the policy finds no
            token for it.
        cells: by site: ``"max"`` (a word's largest logits over its positions), ``"last"`` (at its
            last position), ``"position"``. A site without rows is left out.
        labels: printable name of every token id that the grid mentions.
        label_kinds: their kinds.
        units: speech stream and number in it of each of them that is a unit.
        n_layers: blocks; layers run from 0 (the embedding) to ``n_layers``.
        n_text: text rows of the vocabulary.
        d_vocab: all rows of the vocabulary.
        k: highest tokens of each cell.
        policy: which tokens count as a word.
        lens: what it was read through, as in `WordLens`.
        provenance: what the numbers depend on.
    """

    utterance: str
    tokens: Int[Tensor, " pos"]
    kinds: tuple[TokenKind, ...]
    words: tuple[WordSpan, ...]
    followed: tuple[Followed, ...]
    word_followed: tuple[int | None, ...]
    cells: Mapping[GridSite, GridCells]
    labels: Mapping[int, str]
    label_kinds: Mapping[int, TokenKind]
    units: Mapping[int, tuple[str, int]]
    n_layers: int
    n_text: int
    d_vocab: int
    k: int
    policy: WordPolicy
    lens: str
    provenance: Provenance

    @property
    def subsets(self) -> tuple[str, ...]:
        """Subsets of the vocabulary that were read: ``"text"`` (if there is text), ``"full"``."""
        return tuple(next(iter(self.cells.values())).top_ids)

    def targets(self, row_words: Iterable[int | None], offset: int) -> list[int | None]:
        """What is followed for the word of each row, or for one after it.

        Args:
            row_words: number of each row's word.
            offset: 0 for that word, 1 for the one that follows it.

        Returns:
            Numbers in `followed`; None where there is no such word, or no token for it, or, for
            the following word, where its tokens meet those of the word itself.
        """
        return [self._target(word, offset) for word in row_words]

    def _target(self, word: int | None, offset: int) -> int | None:
        if word is None or not word + offset < len(self.words):
            return None
        own, found = self.word_followed[word], self.word_followed[word + offset]
        if found is None or not offset or own is None:
            return found
        meet = set(self.followed[own].tokens) & set(self.followed[found].tokens)
        return None if meet else found

    def to_frame(self) -> pl.DataFrame:
        """All cells as a table.

        Returns:
            A row for each site, layer and row: ``utterance``, ``site``, ``layer``, ``row``,
            ``start`` and ``end`` (positions), ``word_index``, ``word``, ``next_word``;
            ``{text,speech,other}_mass``; for the subsets ``text`` and ``full``
            ``top_{subset}_ids``, ``_labels`` and ``_log_prob`` (lists, highest first),
            ``{rank,log_prob}_{current,next}_{subset}`` (null where there is no such word or token),
            and ``followed_{rank,log_prob}_{subset}`` (lists in the order of `followed`).
        """
        from slm_lens.lens._grid_table import grid_frame

        return grid_frame(self)
