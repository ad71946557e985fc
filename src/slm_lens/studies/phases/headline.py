"""The peaks of the recalls, with every control at the same layer, and what may be claimed of them.

A recall is *above its controls* if two things hold, which err in different ways:

* at its peak (recall@5 in text) its excess over shuffled words has a 95 % interval over resampled
  utterances that lies above 0: more than a model would get that says frequent words;
* with the different words permuted, and the layer chosen anew, a peak as high comes in at most 5 %
  of the permutations: more than the luck of the best layer, and of a few words that are said often.
"""

from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from slm_lens.phases.permuted import PermutedRecall, permuted_recall
from slm_lens.phases.recall_excess import recall_excess
from slm_lens.studies.phases.options import PhasesAcrossOptions
from slm_lens.studies.phases.reading import KS, Reading

Target = Literal["current", "next"]
Pool = Literal["max", "last"]

POOLS: dict[Target, Pool] = {"current": "max", "next": "last"}
"""Where each word is read: anywhere in the word, or where the next one has to be predicted."""

CLAIM_K, CLAIM_P = 5, 0.05

_SCHEMA: dict[str, Any] = {
    "model": pl.String, "measure": pl.String, "vocab": pl.String, "pool": pl.String, "k": pl.Int32,
    "layer": pl.Int32, "depth": pl.Float64, "recall": pl.Float64, "low": pl.Float64,
    "high": pl.Float64, "shuffled": pl.Float64, "excess_low": pl.Float64,
    "excess_high": pl.Float64, "frequency_matched": pl.Float64, "random_weights": pl.Float64,
    "permuted_peak": pl.Float64, "permuted_peak_95": pl.Float64, "p": pl.Float64,
    "chance": pl.Float64, "any_layer": pl.Float64, "any_layer_permuted": pl.Float64,
    "n_words": pl.Int64, "n_types": pl.Int64, "n_utterances": pl.Int64,
}  # fmt: skip

HEADLINE_CAPTION = (
    "A row is a recall of a model: the highest over its layers, and where. All controls but the "
    "permuted words are read at that layer; these choose their layer anew (mean and 95 % quantile "
    "of their peaks, one-sided p). The excess is over shuffled words. any_layer is another, larger "
    "number: words hit at one layer or another."
)


@dataclass(frozen=True)
class Claim:
    """Whether a recall is above its controls.

    Attributes:
        excess: recall less that of shuffled words at the peak, and its interval.
        p_value: of the peak among permuted words.
    """

    excess: tuple[float, float, float]
    p_value: float

    @property
    def holds(self) -> bool:
        """Both conditions; without resamples it cannot hold."""
        return self.excess[1] > 0 and self.p_value <= CLAIM_P


def headline_rows(
    reading: Reading, options: PhasesAcrossOptions
) -> tuple[list[dict[str, Any]], dict[Target, Claim | None]]:
    """Peaks of both recalls within text and within everything.

    Args:
        reading: of a model.
        options: of the study.

    Returns:
        Rows of the table, and what may be claimed of the current and of the next word; None where
        no word counts.
    """
    every = [
        _row(reading, options, target, vocab, k)
        for target in POOLS
        for vocab in ("text", "full")
        for k in KS
    ]
    claims: dict[Target, Claim | None] = {t: claim_of(reading, options, t) for t in POOLS}
    return [row for row in every if row is not None], claims


def claim_of(reading: Reading, options: PhasesAcrossOptions, target: Target) -> Claim | None:
    """What may be claimed of the current or the next word.

    Args:
        reading: of a model.
        options: of the study.
        target: which of both.

    Returns:
        Excess and p at the peak of recall@5 in text; None with less than two different words.
    """
    others = permuted(reading, options, target, "text", CLAIM_K)
    if others is None:
        return None
    return Claim(_excess(reading, options, target, CLAIM_K, others.peak), others.p_value)


def headline_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The table.

    Args:
        rows: of all models.

    Returns:
        A row for each model, target, vocabulary and k.
    """
    return pl.DataFrame(rows, schema=_SCHEMA).fill_nan(None)


def permuted(
    reading: Reading, options: PhasesAcrossOptions, target: Target, vocab: str, k: int
) -> PermutedRecall | None:
    """Recall with words permuted.

    Args:
        reading: of a model.
        options: of the study.
        target: the current or the next word.
        vocab: ``"text"`` or ``"full"``.
        k: rank that counts as a hit.

    Returns:
        Recall and permuted recalls; None with less than two different words.
    """
    spoken, policy = reading.spoken, reading.table.policy
    tokens = spoken.tokens(reading.model.vocab, policy)
    top, chosen = spoken.top[POOLS[target], vocab], []
    for i, (word, after) in enumerate(zip(spoken.words, spoken.next_words, strict=True)):
        wanted = word if target == "current" else after
        counts = spoken.counts[i] if target == "current" else spoken.next_counts[i]
        meet = target == "next" and not set(tokens[word]).isdisjoint(tokens.get(after or "", ()))
        if counts and wanted is not None and tokens[wanted] and not meet:
            chosen.append((i, wanted))
    if len({w for _, w in chosen}) < 2:
        return None
    return permuted_recall(
        top[[i for i, _ in chosen], :, :k],
        [w for _, w in chosen],
        tokens,
        n_permutations=options.n_permutations,
        seed=options.seed,
    )


def _row(
    reading: Reading, options: PhasesAcrossOptions, target: Target, vocab: str, k: int
) -> dict[str, Any] | None:
    phases, pool, measure = reading.phases, POOLS[target], f"{target}_word_recall"
    curve = phases.curve(measure, vocab=vocab, pool=pool, k=k)
    others = permuted(reading, options, target, vocab, k)
    if others is None or curve["estimate"].null_count():
        return None
    layer = int(curve["estimate"].to_numpy().argmax())

    def at(control: str) -> float | None:
        if vocab != "text" and control != "random weights":
            return None
        of = phases.curve(measure, control=control, vocab=vocab, pool=pool, k=k)
        return of["estimate"][layer]

    anywhere = phases.curve(f"{measure}_any_layer", vocab=vocab, pool=pool, k=k)["estimate"][0]
    peaks = pl.Series(others.permuted.max(1))
    row = {
        "model": reading.name, "measure": measure, "vocab": vocab, "pool": pool, "k": k,
        "layer": layer, "depth": layer / phases.n_layers, "recall": curve["estimate"][layer],
        "low": curve["low"][layer], "high": curve["high"][layer], "shuffled": at("shuffled"),
        "frequency_matched": at("frequency matched"), "random_weights": at("random weights"),
        "permuted_peak": peaks.mean(), "permuted_peak_95": peaks.quantile(0.95, "linear"),
        "p": others.p_value, "chance": curve["chance"][layer], "any_layer": anywhere,
        "any_layer_permuted": float(others.any_layer_permuted.mean()),
        "n_words": curve["n_words"][layer], "n_types": others.n_types,
        "n_utterances": phases.n_utterances,
    }  # fmt: skip
    if vocab == "text":
        _, low, high = _excess(reading, options, target, k, layer)
        row |= {"excess_low": low, "excess_high": high}
    return row


def _excess(
    reading: Reading, options: PhasesAcrossOptions, target: Target, k: int, layer: int
) -> tuple[float, float, float]:
    """Excess over shuffled words at a layer, and its interval."""
    curve = recall_excess(
        reading.table,
        target=target,
        pool=POOLS[target],
        k=k,
        words=options.words,
        n_bootstrap=options.n_bootstrap,
        seed=options.seed,
    )
    low, high = curve.interval()
    return float(curve.estimate[layer]), float(low[layer]), float(high[layer])
