"""What the tables say, in sentences."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from slm_lens.lens.word_errors import ERROR_CLASSES
from slm_lens.phases.result import Phases
from slm_lens.studies.phases.errors import ErrorReading
from slm_lens.studies.phases.headline import CLAIM_K, CLAIM_P, Claim, Target

_GRADED = ("build-up", "sounds alike", "semantic neighbour")
_SAID = {"current": "the spoken word", "next": "the word that follows"}


def recall_finding(row: Mapping[str, Any], claim: Claim, n_layers: int) -> str:
    """How readable the current or the next word is.

    Args:
        row: of the headline table, at `CLAIM_K` in text.
        claim: what may be claimed of it.
        n_layers: of the model.

    Returns:
        A sentence, and the verdict.
    """
    target: Target = "current" if row["measure"].startswith("current") else "next"
    phase = {"current": "transcription", "next": "prediction"}[target]
    verdict = (
        f"{phase} above its controls"
        if claim.holds
        else f"no {phase} that is above its controls"
        + ("" if row["excess_low"] is not None else " can be claimed without resamples")
    )
    return (
        f"{row['model']}: {verdict}. At its best layer, {row['layer']} of {n_layers}, "
        f"{_SAID[target]} is among the {CLAIM_K} highest text tokens for {_share(row, 'recall')} "
        f"of the words; shuffled words {row['shuffled']:.3f} (excess {claim.excess[0]:.3f}"
        f"{_interval(*claim.excess[1:])}), frequency-matched words {row['frequency_matched']:.3f}, "
        f"random weights {row['random_weights']:.3f}, all at that layer; permuted words at their "
        f"own best layers {row['permuted_peak']:.3f}, 95 % of them below "
        f"{row['permuted_peak_95']:.3f} (p = {row['p']:.3f}). {_n(row)}. At any layer (another, "
        f"larger number): {row['any_layer']:.3f}, permuted {row['any_layer_permuted']:.3f}."
    )


def order_finding(phases: Phases, above: tuple[bool, bool]) -> str:
    """Whether the phases come in order.

    Args:
        phases: of a model.
        above: whether the recall of the current and of the next word is above its controls.

    Returns:
        A sentence.
    """
    if not all(above):
        lacking = [n for n, a in zip(("current", "next"), above, strict=True) if not a]
        return (
            f"{phases.model}: no order of phases is claimed, as the recall of the "
            f"{' and the '.join(lacking)} word is not above its controls; the layer of its peak "
            "means nothing."
        )
    difference, back = phases.layer_difference, phases.return_to_speech
    assert difference.layer is not None, "both recalls have a peak"
    low, high = difference.interval
    if low is not None and low > 0:
        order = "the next word peaks after the spoken one"
    elif high is not None and high < 0:
        order = "the next word peaks before the spoken one"
    else:
        order = "no order of the two peaks can be told"
    returned = (
        "the mass never returns to speech after that"
        if back.layer is None
        else f"from layer {back.layer} on speech has most of the mass"
    )
    return (
        f"{phases.model}: {order}: layer {phases.next_word.layer} less layer "
        f"{phases.current_word.layer} of {phases.n_layers} is {difference.layer}"
        f"{'' if low is None else f' [{low}, {high}]'}; {returned}. n = {phases.n_words} and "
        f"{phases.n_next_words} words in {phases.n_utterances} utterances; control: both recalls "
        "are above those of shuffled and of permuted words."
    )


def modality_finding(rows: pl.DataFrame) -> str:
    """How much text the layers speak, by all three measures.

    Args:
        rows: of the modality table, of one model.

    Returns:
        A sentence.
    """
    text = rows.filter(modality="text")
    each = [
        f"{name} {_share(row, 'peak', 'peak_')} at layer {row['peak_layer']} (random weights "
        f"{row['random_weights']:.3f}), {row['last_layer']:.3f} at the last"
        for name, row in zip(
            ("softmax mass", "share of top tokens", "share of the top ten"),
            text.iter_rows(named=True),
            strict=True,
        )
    ]
    return (
        f"{text['model'][0]}: text preference at its highest, by {'; '.join(each)}. Text is "
        f"{text['chance'][0]:.3f} of the rows, which equal logits would give. "
        f"{_n(text.row(0, named=True))}."
    )


def error_finding(rows: pl.DataFrame, found: ErrorReading, peak: int) -> str:
    """What the top tokens are at the current-word peak, and where each error is most frequent.

    Args:
        rows: of the error table, of one model.
        found: classes of that model.
        peak: the current-word peak.

    Returns:
        A few sentences.
    """
    by_class = {row["class"]: row for row in rows.filter(layer=peak).iter_rows(named=True)}
    shares = [
        f"{name} {_share(row, 'share')} (permuted words {row['control']:.3f})"
        for name, row in ((c, by_class[c]) for c in ERROR_CLASSES)
    ]
    highest, above = [], []
    for name in _GRADED:
        row = (
            rows.filter(pl.col("class") == name).sort(-pl.col("share"), "layer").row(0, named=True)
        )
        highest.append(
            f"{name} {_share(row, 'share')} at layer {row['layer']} (permuted words "
            f"{row['control']:.3f}, p = {row['p_highest']:.3f})"
        )
        is_rare = row["p_highest"] <= CLAIM_P / len(_GRADED)
        above += [name] if is_rare and (row["excess_low"] or 0) > 0 else []
    one = by_class["exact"]
    own = found.reading.spoken.tokens(found.reading.model.vocab, "whole_word")
    counted = [found.columns[w] for w in found.words[found.counted]]
    n_built = sum(not own[w] for w in counted)
    whole = f"; {n_built} of them are no token of their own, and at best built up" * bool(n_built)
    return (
        f"{one['model']}: at layer {one['layer']}, the current-word peak, the top text token of a "
        f"word is: {', '.join(shares)}. Errors at their most frequent over all layers: "
        f"{', '.join(highest)}; {' and '.join(above) or 'none'} "
        f"{'are' if len(above) > 1 else 'is'} more frequent than with permuted words at their own "
        f"best layers (p at most {CLAIM_P} / {len(_GRADED)}). {_n(one)}{whole}."
    )


def chance_finding(rows: pl.DataFrame) -> str:
    """How often the two graded classes are met by chance.

    Args:
        rows: of the chance table, of one model.

    Returns:
        A sentence.
    """
    used = {row["alike"]: row for row in rows.filter("used").iter_rows(named=True)}
    (sounds, by_sound), (cosines, by_cosine) = used.items()
    return (
        f"{by_sound['model']}: by chance, {by_sound['chance']:.4f} of top tokens and permuted "
        f"words sound alike ({sounds} within {by_sound['limit']:g}; the words themselves "
        f"{by_sound['share']:.4f}), and {by_cosine['chance']:.4f} are semantic neighbours (the "
        f"{by_cosine['limit']:g} nearest rows of the {cosines}; the words themselves "
        f"{by_cosine['share']:.4f}); n = {by_sound['n_words']} words, {by_sound['n_pairs']} pairs."
    )


def _share(row: Mapping[str, Any], name: str, prefix: str = "") -> str:
    return f"{row[name]:.3f}{_interval(row[f'{prefix}low'], row[f'{prefix}high'])}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None or low != low else f" [{low:.3f}, {high:.3f}]"


def _n(row: Mapping[str, Any]) -> str:
    types = f" of {row['n_types']} kinds" if "n_types" in row else ""
    return f"n = {row['n_words']} words{types} in {row['n_utterances']} utterances"
