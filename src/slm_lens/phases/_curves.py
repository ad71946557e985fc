"""Every curve of a word table: what is averaged, over which words, with which chance line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slm_lens.lens.word_lens import WordLens
from slm_lens.phases._words import Words
from slm_lens.phases.bootstrap import Curve

TARGETS = ("current", "next")
VOCABS = ("text", "full")
POOLS = ("max", "last")
SHUFFLED, MATCHED, NO_CONTROL = "shuffled", "frequency matched", "none"


@dataclass(frozen=True)
class CurveName:
    """What a curve shows.

    Attributes:
        measure: such as ``"current_word_recall"`` or ``"speech_mass"``.
        control: ``"none"`` for the words themselves, or the name of a control.
        vocab: rows that compete, for recalls.
        pool: how a word's positions become one, for recalls.
        k: rank that counts as a hit, for recalls.
    """

    measure: str
    control: str = NO_CONTROL
    vocab: str | None = None
    pool: str | None = None
    k: int | None = None


@dataclass(frozen=True, eq=False)
class NamedCurve:
    """A curve, its name and its chance level.

    Attributes:
        name: what it shows.
        curve: the numbers.
        chance: level of a random ranking, or of equal logits; NaN where it has none.
        has_layers: whether it runs over layers; otherwise it is one number.
    """

    name: CurveName
    curve: Curve
    chance: float
    has_layers: bool = True


@dataclass(frozen=True, eq=False)
class CurveMaker:
    """Makes the curves of one word table.

    Attributes:
        word_lens: the table.
        words: its arrays.
        selected: words that count for the current word and for modality, and for the next word.
        weights: bootstrap weights over the utterances.
        ks: ranks that count as a hit.
    """

    word_lens: WordLens
    words: Words
    selected: dict[str, np.ndarray]
    weights: np.ndarray
    ks: Sequence[int]

    def all(self, control: str = NO_CONTROL) -> Iterator[NamedCurve]:
        """All curves of the table.

        Args:
            control: name under which the table's own words appear; its shuffled and
                frequency-matched words are left out unless it is ``"none"``.

        Yields:
            The curves.
        """
        for target in TARGETS:
            for vocab in VOCABS:
                for pool in POOLS:
                    yield from self._recalls(target, vocab, pool, control)
        yield from self._modalities(control)
        yield from self._next_units(control)

    def _recalls(self, target: str, vocab: str, pool: str, control: str) -> Iterator[NamedCurve]:
        ranks = self.words.numbers(f"rank_{target}_{vocab}_{pool}")
        counted = self.selected[target] & ~np.isnan(ranks).any(1)
        for k in self.ks:
            name = CurveName(f"{target}_word_recall", control, vocab, pool, k)
            hits = np.where(counted[:, None], ranks <= k, np.nan)
            chance = self._chance(target, vocab, k, counted)
            yield NamedCurve(name, self._curve(hits), chance)
            anywhere = np.where(counted, (ranks <= k).any(1), np.nan)[:, None]
            name = CurveName(f"{target}_word_recall_any_layer", control, vocab, pool, k)
            yield NamedCurve(name, self._curve(anywhere), np.nan, has_layers=False)
        if control != NO_CONTROL or vocab != "text" or not self.word_lens.n_draws:
            return
        for other, prefix in ((SHUFFLED, "shuffled"), (MATCHED, "frequency_matched")):
            for k in self.ks:
                shares = self.words.hit_share(f"{prefix}_{target}_{vocab}_{pool}", k)
                shares = np.where(counted[:, None], shares, np.nan)
                name = CurveName(f"{target}_word_recall", other, vocab, pool, k)
                yield NamedCurve(name, self._curve(shares), np.nan)

    def _modalities(self, control: str) -> Iterator[NamedCurve]:
        w = self.word_lens
        rows = {"text": w.n_text, "speech": w.n_speech}
        rows["other"] = w.d_vocab - w.n_text - w.n_speech
        for measure in ("mass", "argmax", "top10"):
            for modality, n in rows.items():
                column = f"{modality}_{measure}"
                values = self._of_current(self.words.numbers(column))
                yield NamedCurve(CurveName(column, control), self._curve(values), n / w.d_vocab)

    def _next_units(self, control: str) -> Iterator[NamedCurve]:
        w = self.word_lens
        harmonic = (1 / np.arange(1, w.n_speech + 1)).sum()
        chances = {
            "next_unit_hit": 1 / w.d_vocab,
            "reciprocal_rank_next_unit": harmonic / w.n_speech,
        }
        for column, chance in chances.items():
            values = self._of_current(self.words.numbers(column))
            yield NamedCurve(CurveName(column, control), self._curve(values), chance)

    def _of_current(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.selected["current"][:, None], values, np.nan)

    def _curve(self, values: np.ndarray) -> Curve:
        return Curve.of(values, self.words.utterance, self.weights)

    def _chance(self, target: str, vocab: str, k: int, counted: np.ndarray) -> float:
        """Recall of a random ranking: 1 - C(rows - m, k) / C(rows, k) for m targets, on average."""
        rows = self.word_lens.n_text if vocab == "text" else self.word_lens.d_vocab
        n_targets = self.words.numbers(f"n_targets_{target}")[counted, 0]
        if not len(n_targets):
            return np.nan
        drawn = np.arange(min(k, rows))
        missed = np.clip((rows - n_targets[:, None] - drawn) / (rows - drawn), 0, 1).prod(1)
        return float((1 - missed).mean())
