"""Attention by head: a map of all positions, or of words, and what each position reads.

Patterns are sent as bytes, those of causal models without the half that is zero, and decoded head
by head when they are looked at, so that 32 heads of 1024 positions open at once. A byte holds the
square root of the attention, so weak attention keeps its digits: 0.01 is off by 0.0004 at most, 0.5
by 0.003.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.views._as_array import as_array
from slm_lens.views.circuits import Renderer, attention_through_circuitsvis, check_renderer
from slm_lens.views.page import View
from slm_lens.views.tokens import described_positions, groups_of
from slm_lens.vocab import SpeechTextVocab

_THUMBNAIL = 48  # positions a side
_TOLERANCE = 1e-3  # softmax in bfloat16 sums to 1 within 0.4 %, and no entry is above it by more


def attention_heads(
    patterns: Tensor | np.ndarray,
    sequence: SpeechTextSequence,
    vocab: SpeechTextVocab,
    *,
    layers: Sequence[int] | None = None,
    renderer: Renderer = "canvas",
    title: str = "Attention",
    utterance: str | None = None,
) -> View:
    """Attention patterns of one or more layers, by head, over units and written tokens.

    Pointing at the map or at a token tells what it reads, and colours the tokens by it; a click
    selects it. The map shows positions or words (the mean over the positions of the reading word of
    the sum over those of the word that is read, so that rows still sum to one), of all kinds or
    from speech to text and back.

    Args:
        patterns: attention ``[head, query, key]`` or ``[layer, head, query, key]``, such as
            ``torch.stack([cache["pattern", i][0] for i in layers])``.
        sequence: what the model read.
        vocab: the model's vocabulary.
        layers: which layers the patterns are of; None for ``0, 1, ...``.
        renderer: ``"canvas"`` for any size; ``"circuitsvis"`` for the view of that package, of up
            to 64 positions.
        title: heading.
        utterance: name that views of one utterance share on a page.

    Returns:
        The view.

    Raises:
        ValueError: the patterns are of another length, are not in [0, 1], or have other layers
            than was said; an unknown renderer, or too many positions for circuitsvis.
    """  # noqa: DOC502 (raised by the parts)
    check_renderer(renderer, "attention_heads")
    found, named = _checked(patterns, sequence, layers)
    n_heads, n = found.shape[1], len(sequence)
    description = (
        f"Attention of {n_heads} heads in {len(named)} "
        f"{'layer' if len(named) == 1 else 'layers'} over {n} positions."
    )
    if renderer == "circuitsvis":
        return attention_through_circuitsvis(
            found, named, sequence, vocab, (title, description, utterance)
        )
    flat = found.reshape(-1, n, n)
    causal = not np.triu(flat, 1).any()
    coded = _coded(flat)
    below = np.tril(np.ones((n, n), dtype=bool))
    data: dict[str, Any] = {
        **described_positions(sequence, vocab),
        "layers": list(named),
        "n_heads": n_heads,
        "causal": causal,
        "patterns": [head[below] if causal else head for head in coded],
        "by_word": list(_coded(_by_group(flat, sequence))),
        "thumbnails": _thumbnails(coded),
    }
    return View("attention", data, title, description, utterance, ("tokens", "attention_map"))


def _checked(
    patterns: Tensor | np.ndarray, sequence: SpeechTextSequence, layers: Sequence[int] | None
) -> tuple[Float[np.ndarray, "layer head query key"], tuple[int, ...]]:
    found = as_array(patterns)
    if found.ndim == 3:
        found = found[None]
    n = len(sequence)
    if found.ndim != 4 or found.shape[2:] != (n, n) or 0 in found.shape:
        raise ValueError(
            f"attention_heads: got patterns of shape {tuple(np.shape(patterns))} for {n} "
            f"positions, expected [head, {n}, {n}] or [layer, head, {n}, {n}]. Take one sequence "
            "of a batch."
        )
    if not (found.min() >= -_TOLERANCE and found.max() <= 1 + _TOLERANCE):  # also refuses NaN
        raise ValueError(
            f"attention_heads: got values from {found.min():.3g} to {found.max():.3g}, expected "
            "attention in [0, 1]. Give hook_pattern, not hook_attn_scores."
        )
    named = tuple(range(len(found)) if layers is None else layers)
    if len(named) != len(found):
        raise ValueError(
            f"attention_heads: got patterns of {len(found)} layers and layers={list(named)}, "
            "expected one number for each."
        )
    return found, named


def _coded(
    attention: Float[np.ndarray, "n_heads query key"],
) -> UInt8[np.ndarray, "n_heads query key"]:
    """Square roots in 255 steps; what is not zero stays so."""
    roots = np.sqrt(np.clip(attention, 0, 1)) * 255
    return np.where(attention > 0, np.maximum(np.rint(roots), 1), 0).astype(np.uint8)


def _by_group(
    attention: Float[np.ndarray, "n_heads query key"], sequence: SpeechTextSequence
) -> Float[np.ndarray, "n_heads n_groups n_groups"]:
    """Mean over the positions of a group of the sum over those of another; empty ones left out."""
    starts = [g["start"] for g in groups_of(sequence) if g["end"] > g["start"]]
    sizes = np.diff([*starts, len(sequence)])
    summed = np.add.reduceat(attention, starts, axis=2)
    return np.add.reduceat(summed, starts, axis=1) / sizes[:, None]


def _thumbnails(coded: UInt8[np.ndarray, "n_heads query key"]) -> UInt8[np.ndarray, "n_heads _ _"]:
    """The largest value of each block, so that a thin line is still seen when small."""
    n = coded.shape[1]
    if n <= _THUMBNAIL:
        return coded
    starts = np.arange(_THUMBNAIL) * n // _THUMBNAIL
    rows = np.maximum.reduceat(coded, starts, axis=1)
    return np.maximum.reduceat(rows, starts, axis=2)
