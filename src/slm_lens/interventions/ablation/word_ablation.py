"""What `ablate_words` found: a table of effects, and their means beside their controls."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from slm_lens._pictured import Pictured
from slm_lens.interventions.runs.measured_run import interval_over_runs, sign_flip_p
from slm_lens.model.provenance import Provenance
from slm_lens.vocab import WordPolicy

CONTROL_OF = {"random": "word", "frequency_matched": "word", "random_text": "text"}
"""Which directions a control belongs to."""

_KEYS = ("metric", "layer", "directions")


@dataclass(frozen=True, eq=False)
class WordAblation(Pictured):
    """Effects of taking directions out of the stream at words.

    Attributes:
        table: one row for each metric, utterance, word, layer, set of directions and draw; below.
        word: whether the directions are those of the ``"current"`` or the ``"next"`` word.
        policy: which tokens count as a word.
        n_text_directions: leading directions of all text rows; 0 for none.
        n_draws: draws of each control.
        n_bootstrap: resamples of utterances in intervals.
        seed: seed of draws and resamples.
        words_without_tokens: spoken words that were left out for want of tokens, and how often.
        words_without_matches: words for which no frequency-matched word was found, and how often;
            they count in no difference from that control.
        provenance: what the numbers depend on.

    Columns of the table:
        ``metric``, ``utterance``, ``word_index``, ``word``, ``is_content``, ``layer`` (block),
        ``directions`` (``"word"``, its controls ``"random"`` and ``"frequency_matched"``,
        ``"text"``, its control ``"random_text"``), ``draw`` (null for word and text),
        ``n_directions``, ``removed`` (mean share of the squared norm that was taken out),
        ``baseline``, ``value``, ``effect`` (``value - baseline``). A metric that has nothing to
        read, as after the last word, has no row.
    """

    table: pl.DataFrame
    word: str
    policy: WordPolicy
    n_text_directions: int
    n_draws: int
    n_bootstrap: int
    seed: int
    words_without_tokens: Mapping[str, int]
    words_without_matches: Mapping[str, int]
    provenance: Provenance = field(repr=False)

    def to_frame(self) -> pl.DataFrame:
        """Every measurement.

        Returns:
            `table`.
        """
        return self.table

    def effects(self) -> pl.DataFrame:
        """Mean effects over words, with intervals over utterances.

        Returns:
            One row for each metric, layer and set of directions: ``effect``, ``low``, ``high``,
            ``n_words``, and the mean ``removed``. Draws are averaged in each word first.
        """
        rows = []
        for key, group in self._by_word().group_by(_KEYS, maintain_order=True):
            rows.append(
                dict(zip(_KEYS, key, strict=True))
                | self._interval(group, "effect")
                | {"removed": group["removed"].mean()}
            )
        return pl.DataFrame(rows)

    def differences(self) -> pl.DataFrame:
        """How much more taking out the directions does than taking out their controls.

        Returns:
            One row for each metric, layer and control: ``difference`` of the effects (over words
            that have both), ``low``, ``high``, ``n_words``, and ``p_value`` of a sign-flip
            permutation test over the mean differences of utterances.
        """
        by_word = self._by_word()
        at = ["metric", "layer", "utterance", "word_index"]
        rows = []
        for control, of in CONTROL_OF.items():
            true = by_word.filter(pl.col("directions") == of)
            other = by_word.filter(pl.col("directions") == control)
            both = true.join(other, on=at, suffix="_control", maintain_order="left")
            both = both.with_columns(difference=pl.col("effect") - pl.col("effect_control"))
            for key, group in both.group_by("metric", "layer", maintain_order=True):
                names = dict(zip(("metric", "layer"), key, strict=True))
                row = names | {"directions": of, "control": control}
                rows.append(
                    row | self._interval(group, "difference") | {"p_value": _p(group, self.seed)}
                )
        return pl.DataFrame(rows)

    def _by_word(self) -> pl.DataFrame:
        """Draws averaged."""
        keys = [*_KEYS, "utterance", "word_index"]
        means = pl.col("effect").mean(), pl.col("removed").mean()
        return self.table.group_by(keys, maintain_order=True).agg(*means)

    def _interval(self, group: pl.DataFrame, column: str) -> dict[str, float | int | None]:
        names = self.table["utterance"].unique(maintain_order=True).to_list()
        number = {name: i for i, name in enumerate(names)}
        found = interval_over_runs(
            group[column].to_numpy()[:, None],
            np.array([number[name] for name in group["utterance"]], dtype=np.int64),
            n_runs=len(names),
            n_bootstrap=self.n_bootstrap,
            seed=self.seed,
        )
        mean, low, high = (float(x[0]) for x in found)
        return {column: mean, "low": low, "high": high, "n_words": len(group)}


def _p(group: pl.DataFrame, seed: int) -> float:
    of_utterances = group.group_by("utterance", maintain_order=True).agg(
        pl.col("difference").mean()
    )
    return sign_flip_p(of_utterances["difference"].to_numpy(), seed)
