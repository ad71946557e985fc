"""The tables `example` and `example_path`: one utterance's similarity matrix with its alignment."""

import polars as pl

from slm_lens.geometry.paired import PairedStates
from slm_lens.geometry.similarity import cosine_matrix
from slm_lens.speech.warping import dtw_path
from slm_lens.studies.geometry.aligned import words_at

_CELLS = {
    "model": pl.String, "utterance": pl.String, "layer": pl.Int32, "position": pl.Int32,
    "token": pl.Int32, "cosine": pl.Float64, "n_positions": pl.Int32, "n_tokens": pl.Int32,
}  # fmt: skip
_PATH = {
    "model": pl.String, "utterance": pl.String, "layer": pl.Int32, "kind": pl.String,
    "position": pl.Int32, "token": pl.Int32, "word": pl.String, "n_positions": pl.Int32,
    "n_tokens": pl.Int32,
}  # fmt: skip


def example_tables(
    model: str,
    utterance: str,
    state: PairedStates,
    layer: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cosines of one utterance, what warping makes of them, and where its words are.

    Args:
        model: its name.
        utterance: its name.
        state: its states.
        layer: which layer.

    Returns:
        `example`: a row for each position and token; `example_path`: rows of kind ``"dtw"``, a step
        each, and ``"word"``, one for each position of each word with its text tokens.
    """
    cosines = cosine_matrix(state.speech[layer], state.text[layer])
    n, m = cosines.shape
    keys = {"model": model, "utterance": utterance, "layer": layer}
    sizes = {"n_positions": n, "n_tokens": m}
    cells = [
        {**keys, **sizes, "position": i, "token": j, "cosine": float(cosines[i, j])}
        for i in range(n)
        for j in range(m)
    ]
    spoken, written = words_at(state.speech_spans, n), words_at(state.text_spans, m)
    steps = [
        {**keys, **sizes, "kind": "dtw", "position": i, "token": j, "word": None}
        for i, j in dtw_path(1 - cosines).tolist()
    ]
    steps += [
        {**keys, **sizes, "kind": "word", "position": i, "token": j, "word": state.words[k]}
        for i, k in enumerate(spoken.tolist())
        for j in range(m)
        if k >= 0 and written[j] == k
    ]
    return pl.DataFrame(cells, schema=_CELLS), pl.DataFrame(steps, schema=_PATH)
