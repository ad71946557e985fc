"""The qualitative grid: the top text token of every layer at the words of one clip, classed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from slm_lens.lens.word_errors import ERROR_CLASSES
from slm_lens.studies.phases.errors import ErrorReading

_MOST_WORDS, _MOST_LAYERS = 40, 13

_SCHEMA: dict[str, Any] = {
    "model": pl.String, "utterance": pl.String, "word_index": pl.Int32, "word": pl.String,
    "layer": pl.Int32, "token": pl.String, "class": pl.String, "probability": pl.Float64,
    "n_positions": pl.Int32,
}  # fmt: skip

GRID_CAPTION = (
    "A row is a spoken word of one clip at a layer of a model: the top text token (of logits "
    "pooled by maximum over the word's positions), its class and its probability among the text "
    "tokens."
)


def grid_frame(found: Sequence[ErrorReading], example: str | None) -> pl.DataFrame:
    """The grid of one clip, for all models.

    Args:
        found: classes of each model.
        example: name of the clip; None for the first one.

    Returns:
        A row for each model, word and layer.

    Raises:
        ValueError: there is no such clip.
    """  # noqa: DOC502 (raised by _rows)
    rows = [row for one in found for row in _rows(one, example)]
    return pl.DataFrame(rows, schema=_SCHEMA)


def example_frame(grid: pl.DataFrame, model: str, peak: int) -> pl.DataFrame:
    """The grid of one model as it is read: words below each other, layers side by side.

    Args:
        grid: from `grid_frame`.
        model: whose.
        peak: layer that is kept if layers are left out.

    Returns:
        A row for each of the first words, with the token and its class at every layer; at some of
        them, the last and the peak included, if they are many.
    """
    rows = grid.filter(pl.col("model") == model)
    n_layers = int(rows["layer"].to_numpy().max())
    even = np.linspace(0, n_layers, min(n_layers + 1, _MOST_LAYERS)).round().astype(int)
    kept = sorted({*even.tolist(), peak})
    wide = pl.when(pl.col("class") == "other").then("token").otherwise(
        pl.format("{} ({})", "token", "class")
    )  # fmt: skip
    return (
        rows.filter(pl.col("layer").is_in(kept))
        .with_columns(wide.alias("said"), pl.format("layer {}", "layer").alias("at"))
        .pivot("at", index=["word_index", "word", "n_positions"], values="said")
        .sort("word_index")
        .drop("word_index")
        .head(_MOST_WORDS)
    )


def _rows(found: ErrorReading, example: str | None) -> list[dict[str, Any]]:
    spoken = found.reading.spoken
    name = spoken.utterance[0] if example is None else example
    here = [i for i, u in enumerate(spoken.utterance) if u == name and found.words[i] >= 0]
    if not here:
        raise ValueError(
            f"study 'phases': got example={example!r}, expected the name of a clip with spoken "
            f"words, such as {spoken.utterance[0]!r}."
        )
    # A last word has no next one; a column of its own word stands for it, which "exact" precedes.
    after = np.where(found.next_words >= 0, found.next_words, found.words)
    classes = found.tables.classes(found.tokens[here], found.words[here], after[here])
    return [
        {
            "model": found.reading.name, "utterance": name,
            "word_index": spoken.word_index[i], "word": spoken.spelled[i], "layer": layer,
            "token": found.errors.written[int(found.tables.tokens[found.tokens[i, layer]])].strip(),
            "class": ERROR_CLASSES[classes[row, layer]],
            "probability": float(spoken.probability[i, layer]),
            "n_positions": spoken.n_positions[i],
        }
        for row, i in enumerate(here)
        for layer in range(found.tokens.shape[1])
    ]  # fmt: skip
