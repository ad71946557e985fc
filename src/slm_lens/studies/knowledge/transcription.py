"""Which words are transcribed: at the layer where the held-out clips have the most, in the prompts.

The layer is chosen on other clips than the items, so that no choice is made on what is tested. A
word is *transcribed* if its rank among the text rows at that layer is k or better, in logits pooled
by maximum over the word's positions.

Source: recall of the current word, Sternberg et al. 2026, arXiv:2606.22473; k, pooling and the
choice of the layer are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from slm_lens.lens.word_lens import WordLens, word_lens
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases._words import Words
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS, word_type
from slm_lens.sequence.utterance import Utterance
from slm_lens.studies.knowledge.fact_items import FactItem

N_CONTROL_WORDS = 10
"""Words of other clips that are ranked beside each word, for the control."""

BATCH = 8
"""Utterances, or trials, in one forward pass; changes numbers by rounding only."""

_RANK = "rank_current_text_max"


@dataclass(frozen=True, eq=False)
class Peak:
    """Where a model transcribes, found on held-out clips.

    Attributes:
        layer: layer of the highest recall of content words, the first of equal ones.
        recall: that recall: the maximum over layers.
        low: lower end of its 95 % interval, the maximum being taken in each resample of clips.
        high: upper end; both None without resamples.
        control: recall of words of other clips at the same spans and that layer.
        resamples: ``[n_bootstrap]`` the maximum in each resample.
        n_words: content words.
        n_clips: clips.
    """

    layer: int
    recall: float
    low: float | None
    high: float | None
    control: float
    resamples: np.ndarray
    n_words: int
    n_clips: int


def transcription_peak(
    model: HookedSLM, clips: Sequence[Utterance], *, k: int, n_bootstrap: int, seed: int
) -> Peak:
    """Find the layer.

    Args:
        model: the model.
        clips: spoken, at least two; none is an item.
        k: rank that counts as a hit.
        n_bootstrap: resamples of clips.
        seed: of resamples and control words.

    Returns:
        The layer and its recall.

    Raises:
        ValueError: no content word of the clips has a token.
    """
    words = Words.of(_read(model, clips, n_draws=N_CONTROL_WORDS, seed=seed))
    counts = words.is_content[:, None]
    ranks = np.where(counts, words.numbers(_RANK), np.nan)
    weights = resample_weights(len(words.utterances), n_bootstrap, seed)
    hits = np.where(np.isnan(ranks), np.nan, ranks <= k)
    curve = Curve.of(hits, words.utterance, weights)
    if not curve.n_words:
        raise ValueError(
            f"knowledge: none of the content words of {len(clips)} clips has a token, expected "
            "some: the layer of transcription is chosen on them. Give other clips."
        )
    shares = np.where(counts, words.hit_share("shuffled_current_text_max", k), np.nan)
    control = Curve.of(shares, words.utterance, weights[:0]).estimate
    layer = int(curve.estimate.argmax())
    resamples = curve.resamples.max(1)
    low, high = _ends(resamples)
    return Peak(
        layer=layer,
        recall=float(curve.estimate[layer]),
        low=low,
        high=high,
        control=float(control[layer]),
        resamples=resamples,
        n_words=curve.n_words,
        n_clips=len(words.utterances),
    )


def transcribed_items(
    model: HookedSLM,
    items: Sequence[FactItem],
    peak: Peak,
    *,
    k: int,
    word_counts: Mapping[str, int] | None,
) -> pl.DataFrame:
    """Whether the words of each item's spoken prompt are transcribed.

    Args:
        model: the model.
        items: what is asked.
        peak: at its layer.
        k: rank that counts as a hit.
        word_counts: how often words (lower case) occur in what the model was trained on; None if
            that is not known.

    Returns:
        A row for each item: ``item``, ``subject_word``, ``subject_rank`` (null if no position or
        token carries the subject, or it is not known), ``subject`` (1 if it is transcribed, else
        0), ``subject_nearness`` (minus the logarithm of its rank), ``content`` (share of the
        prompt's content words that are transcribed), ``n_content_words``, ``subject_log_count``
        and ``content_log_count`` (log of count + 1, of content words the mean; null without
        counts).
    """
    prompts = {i.prompt.name: i.prompt for i in items if i.prompt is not None}
    ranks = dict[tuple[str, int], int | None]()
    content = dict[str, list[int]]()
    if prompts:
        table = _read(model, list(prompts.values()), n_draws=0, seed=0).table
        at_peak = table.filter(pl.col("layer") == peak.layer)
        columns = at_peak.select("utterance", "word_index", _RANK, "is_content")
        for utterance, index, rank, is_content in columns.iter_rows():
            ranks[utterance, index] = rank
            if is_content and rank is not None:
                content.setdefault(utterance, []).append(index)
    rows = []
    for item in items:
        name = None if item.prompt is None else item.prompt.name
        of_item = [] if name is None else content.get(name, [])
        subject = None if name is None or item.subject is None else (name, item.subject)
        rank = None if subject is None else ranks.get(subject)
        spelled = _spelled(item)
        hits = [ranks[name, i] for i in of_item] if name is not None else []
        rows.append(
            {
                "item": item.name,
                "subject_word": None if item.subject is None else spelled[item.subject],
                "subject_rank": rank,
                "subject": None if rank is None else float(rank <= k),
                "subject_nearness": None if rank is None else -float(np.log(rank)),
                "content": float(np.mean([h <= k for h in hits if h is not None]))
                if hits
                else None,
                "n_content_words": len(of_item),
                "subject_log_count": _log_count(
                    [] if item.subject is None else [spelled[item.subject]], word_counts
                ),
                "content_log_count": _log_count([spelled[i] for i in of_item], word_counts),
            }
        )
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA = {
    "item": pl.String,
    "subject_word": pl.String,
    "subject_rank": pl.Int64,
    "subject": pl.Float64,
    "subject_nearness": pl.Float64,
    "content": pl.Float64,
    "n_content_words": pl.Int64,
    "subject_log_count": pl.Float64,
    "content_log_count": pl.Float64,
}


def _read(
    model: HookedSLM, utterances: Sequence[Utterance], *, n_draws: int, seed: int
) -> WordLens:
    return word_lens(
        model,
        utterances,
        function_words=ENGLISH_FUNCTION_WORDS,
        policy=model.word_policy,
        n_draws=n_draws,
        seed=seed,
        batch_size=BATCH,
    )


def _spelled(item: FactItem) -> list[str]:
    return [] if item.prompt is None else [w.word for w in item.prompt.sequence.words]


def _log_count(words: Sequence[str], counts: Mapping[str, int] | None) -> float | None:
    if counts is None or not words:
        return None
    return float(np.mean([np.log1p(counts.get(word_type(w), 0)) for w in words]))


def _ends(resamples: np.ndarray) -> tuple[float | None, float | None]:
    held = resamples[~np.isnan(resamples)]
    if not len(held):
        return None, None
    low, high = np.quantile(held, [0.025, 0.975])
    return float(low), float(high)
