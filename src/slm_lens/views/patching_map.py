"""What patching did at every layer and word of one run, as a map of cells."""

from typing import Any

import numpy as np
import polars as pl

from slm_lens.interventions.patching.patching_result import Patching
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.views.page import View

_PANEL = ("metric", "kind", "head", "source_layer")


def patching_map(
    patching: Patching,
    sequence: SpeechTextSequence,
    *,
    title: str = "Patching",
    utterance: str | None = None,
) -> View:
    """Layers by places of the run that was patched, coloured by what the patch changed.

    Args:
        patching: a sweep of one pair, with a position for each place (``at="words"`` or
            ``"positions"``).
        sequence: the run that was patched.
        title: heading.
        utterance: name that views of one utterance share on a page.

    Returns:
        The view; a click on a cell selects its word.

    Raises:
        ValueError: the sweep is of several pairs, or a place has no position in the sequence.
    """
    table = patching.to_frame()
    inside = pl.col("position").is_between(0, len(sequence) - 1).fill_null(value=False)
    if table["pair"].n_unique() != 1 or not table.select(inside.all()).item():
        raise ValueError(
            f"patching_map: got {table['pair'].n_unique()} pairs and positions "
            f"{table['position'].unique().to_list()[:5]} for {len(sequence)} tokens, expected one "
            "pair whose places have a position in the run that was patched. Use at='words'."
        )
    # States that went to the layer that they came from need no mention of it.
    elsewhere = pl.col("source_layer") != pl.col("layer")
    table = table.with_columns(source_layer=pl.when(elsewhere).then("source_layer"))
    panels = [
        _panel(rows, dict(zip(_PANEL, key, strict=True)), sequence)
        for key, rows in table.partition_by(
            _PANEL, as_dict=True, maintain_order=True, include_key=True
        ).items()
    ]
    pair = table["pair"][0]
    return View(
        kind="patching_map",
        data={
            "pair": pair,
            "direction": patching.direction,
            "panels": panels,
            "words": [
                {"word": w.word, "start_s": w.start_s, "end_s": w.end_s} for w in sequence.words
            ],
        },
        title=title,
        description=(
            f"Change of the metric when states of one run of {pair} are put into the other "
            f"({patching.direction}), by layer and place; 0 is no effect."
        ),
        utterance=utterance,
        scripts=("cell_grid",),
    )


def _panel(rows: pl.DataFrame, key: dict[str, Any], sequence: SpeechTextSequence) -> dict[str, Any]:
    """One metric and activation: values of layers by places, in the order of positions."""
    places = rows.select("position", "label").unique(maintain_order=True).sort("position")
    layers = sorted(rows["layer"].unique().to_list())
    values = np.full((len(layers), len(places)), np.nan, dtype=np.float32)
    place_of = {place: i for i, place in enumerate(places.iter_rows())}
    for layer, position, label, effect in rows.select(
        "layer", "position", "label", "effect"
    ).iter_rows():
        values[layers.index(layer), place_of[position, label]] = effect
    name = f"{key['metric']}, {key['kind']}"
    if key["head"] is not None:
        name += f", head {key['head']}"
    if key["source_layer"] is not None:
        name += f", from layer {key['source_layer']}"
    return {
        "name": name,
        "clean": _only(rows["clean"]),
        "corrupted": _only(rows["corrupted"]),
        "layers": layers,
        "places": [
            {"label": label, "position": position, "word": _word_at(sequence, position)}
            for position, label in places.iter_rows()
        ],
        "effect": values,
    }


def _only(values: pl.Series) -> float | None:
    """The value of a run, the same in all rows of its metric."""
    return None if values.null_count() else float(values[0])


def _word_at(sequence: SpeechTextSequence, position: int) -> int | None:
    found = (i for i, w in enumerate(sequence.words) if w.start <= position < w.end)
    return next(found, None)
