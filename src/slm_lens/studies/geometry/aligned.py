"""Which states stand for each other: by word times or by time warping, and whether both agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.geometry.alignment_path import alignment_path
from slm_lens.geometry.paired import PairedStates
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.speech.warping import dtw_path
from slm_lens.studies.geometry.measures import layer_directions, word_items, word_states
from slm_lens.studies.geometry.mismatched import Items

STRAIGHT = "straight line"
_AGREEMENT = {
    "model": pl.String, "method": pl.String, "layer": pl.Int32, "agreement": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "n_utterances": pl.Int32, "n_positions": pl.Int32,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class AlignedStates:
    """States of speech and text that stand for each other.

    Attributes:
        speech: of each item.
        text: of the same items.
        items: words or text tokens.
    """

    speech: Float[Tensor, "layer item d_model"]
    text: Float[Tensor, "layer item d_model"]
    items: Items

    def first(self, n: int) -> "AlignedStates":
        """The first items.

        Args:
            n: how many.

        Returns:
            Their states.
        """
        of = self.items
        items = Items(of.utterance[:n], of.number[:n], of.label[:n])
        return AlignedStates(self.speech[:, :n], self.text[:, :n], items)


def aligned_by_words(states: Sequence[PairedStates]) -> AlignedStates:
    """Means over the positions of each word, as word times have them.

    Args:
        states: of all utterances.

    Returns:
        One item for each word with a position in both.
    """
    return AlignedStates(*word_states(states), word_items(states))


def aligned_by_warping(
    states: Sequence[PairedStates], tokens: Sequence[tuple[int, ...]], *, base_layer: int
) -> AlignedStates:
    """Each text token with the mean of the speech positions that warping puts beside it.

    Args:
        states: of all utterances.
        tokens: ids of the text tokens of each utterance.
        base_layer: layer whose cosines are warped; all layers are then put together by it.

    Returns:
        One item for each text token.
    """
    speech, where = [], []
    for u, (state, path) in enumerate(zip(states, warped(states, base_layer), strict=True)):
        n_speech, n_text = state.speech.shape[1], state.text.shape[1]
        shares = torch.zeros(n_text, n_speech, dtype=torch.float64)
        shares[path[:, 1], path[:, 0]] = 1.0
        speech.append(shares / shares.sum(1, keepdim=True) @ state.speech.double())
        where += [(u, k) for k in range(n_text)]
    text = torch.cat([s.text.double() for s in states], 1)
    table = np.array(where)
    labels = tuple(str(t) for of in tokens for t in of)
    return AlignedStates(torch.cat(speech, 1), text, Items(table[:, 0], table[:, 1], labels))


def warped(states: Sequence[PairedStates], layer: int) -> list[Int[Tensor, "step 2"]]:
    """Time warping of the cosines of one layer.

    Args:
        states: of all utterances.
        layer: which layer.

    Returns:
        Speech and text positions of every step, for each utterance; the cost is 1 - cosine.
    """
    speech = layer_directions([s.speech[layer] for s in states], is_centred=False)
    text = layer_directions([s.text[layer] for s in states], is_centred=False)
    return [dtw_path(1 - x @ y.T) for x, y in zip(speech, text, strict=True)]


def agreement_table(
    model: str, states: Sequence[PairedStates], *, n_bootstrap: int, seed: int
) -> pl.DataFrame:
    """How often an alignment found from states puts speech beside the word that is spoken.

    Args:
        model: its name.
        states: of all utterances.
        n_bootstrap: resamples of utterances.
        seed: of the resamples.

    Returns:
        By method and layer: the share of speech positions inside words that are put beside their
        own word's text. ``"dtw"``: of the steps of the warping; ``"best match"``: of the text
        tokens, with the position that is most like each; ``"straight line"``: of the speech
        positions, with the text cut into equal parts, which needs no model.
    """
    weights = resample_weights(len(states), n_bootstrap, seed)
    rows = []
    for layer in range(len(states[0].speech)):
        for method, (hits, utterance) in _agreement(states, layer).items():
            curve = Curve.of(hits[:, None], utterance, weights)
            (low,), (high,) = curve.interval()
            rows.append(
                (model, method, layer, float(curve.estimate[0]), float(low), float(high),
                 len(states), curve.n_words)
            )  # fmt: skip
    table = pl.DataFrame(rows, schema=_AGREEMENT, orient="row")
    return table.with_columns(pl.col("low", "high").fill_nan(None))


def words_at(spans: Int[Tensor, "n_words 2"], n_positions: int) -> Int[np.ndarray, " position"]:
    """Number of the word at each position.

    Args:
        spans: of the words.
        n_positions: how many positions there are.

    Returns:
        -1 where there is no word.
    """
    number = np.full(n_positions, -1)
    for k, (start, end) in enumerate(spans.tolist()):
        number[start:end] = k
    return number


def _agreement(
    states: Sequence[PairedStates], layer: int
) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """By method: hits, and the utterance of each."""
    speech = layer_directions([s.speech[layer] for s in states], is_centred=False)
    text = layer_directions([s.text[layer] for s in states], is_centred=False)
    found: dict[str, list[np.ndarray]] = {"dtw": [], "best match": [], STRAIGHT: []}
    for state, x, y in zip(states, speech, text, strict=True):
        cosines = x @ y.T
        spoken = words_at(state.speech_spans, len(x))
        written = words_at(state.text_spans, len(y))
        path = dtw_path(1 - cosines).numpy()
        path = path[spoken[path[:, 0]] >= 0]
        found["dtw"].append(spoken[path[:, 0]] == written[path[:, 1]])
        best = alignment_path(cosines).positions.numpy()
        found["best match"].append((spoken[best] == written)[written >= 0])
        straight = written[np.arange(len(x)) * len(y) // len(x)]
        found[STRAIGHT].append((spoken == straight)[spoken >= 0])
    return {
        method: (
            np.concatenate(hits).astype(np.float64),
            np.repeat(np.arange(len(states)), [len(h) for h in hits]),
        )
        for method, hits in found.items()
    }
