"""Where the phases are, at equal depth; what modality every layer prefers; and all curves."""

from typing import Any

import polars as pl

from slm_lens.phases.result import LayerEstimate, Phases

_LAYERS: dict[str, Any] = {
    "model": pl.String, "phase": pl.String, "layer": pl.Int32, "low": pl.Int32, "high": pl.Int32,
    "depth": pl.Float64, "depth_low": pl.Float64, "depth_high": pl.Float64,
    "above_controls": pl.Boolean, "n_layers": pl.Int32, "n_words": pl.Int64,
    "n_utterances": pl.Int64,
}  # fmt: skip
_MODALITY: dict[str, Any] = {
    "model": pl.String, "measure": pl.String, "modality": pl.String, "peak": pl.Float64,
    "peak_low": pl.Float64, "peak_high": pl.Float64, "peak_layer": pl.Int32,
    "random_weights": pl.Float64, "last_layer": pl.Float64, "chance": pl.Float64,
    "n_words": pl.Int64, "n_utterances": pl.Int64,
}  # fmt: skip

LAYERS_CAPTION = (
    "A row is a phase of a model: its layer, with the 95 % interval over resampled utterances in "
    "which the layer is found anew, and the same as depth, layer / n_layers. The peaks are those "
    "of recall@5 in text; above_controls says whether the recall may be claimed at all, and of the "
    "difference whether both may. An empty layer means never, an empty end of an interval too."
)
MODALITY_CAPTION = (
    "A row is a measure of a modality's preference in a model, mean over the positions of the "
    "words: its highest value over layers and where, the same model with random weights at that "
    "layer, and the last layer. chance is the modality's share of the rows of the vocabulary, "
    "which is what equal logits give."
)
CURVES_CAPTION = (
    "A row is a point of a curve of a model, as `Phases.curves` has them, and its depth, layer / "
    "number of layers. A measure that ends in any_layer has no layer and is never the headline."
)


def layer_rows(phases: Phases, above: tuple[bool, bool]) -> list[dict[str, Any]]:
    """Phase layers of a model.

    Args:
        phases: of the model.
        above: whether the recall of the current and of the next word is above its controls.

    Returns:
        Rows of the table.
    """
    found: dict[str, tuple[LayerEstimate, int, bool | None]] = {
        "current word": (phases.current_word, phases.n_words, above[0]),
        "next word": (phases.next_word, phases.n_next_words, above[1]),
        "return to speech": (phases.return_to_speech, phases.n_words, None),
        "next minus current": (phases.layer_difference, phases.n_words, all(above)),
    }
    rows = []
    for name, (estimate, n_words, is_above) in found.items():
        values = estimate.layer, *estimate.interval
        depths = [None if v is None else v / phases.n_layers for v in values]
        rows.append(
            {
                "model": phases.model, "phase": name, "above_controls": is_above,
                **dict(zip(("layer", "low", "high"), values, strict=True)),
                **dict(zip(("depth", "depth_low", "depth_high"), depths, strict=True)),
                "n_layers": phases.n_layers, "n_words": n_words,
                "n_utterances": phases.n_utterances,
            }
        )  # fmt: skip
    return rows


def layer_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The table.

    Args:
        rows: of all models.

    Returns:
        A row for each model and phase.
    """
    return pl.DataFrame(rows, schema=_LAYERS)


def modality_frame(phases: list[Phases]) -> pl.DataFrame:
    """Preference of modalities by three measures.

    Args:
        phases: of each model.

    Returns:
        A row for each model, modality and measure.
    """
    rows = []
    for one in phases:
        for modality in ("text", "speech"):
            for measure in ("mass", "argmax", "top10"):
                curve = one.curve(f"{modality}_{measure}")
                random = one.curve(f"{modality}_{measure}", control="random weights")
                layer = int(curve["estimate"].to_numpy().argmax())
                rows.append(
                    {
                        "model": one.model, "measure": measure, "modality": modality,
                        "peak": curve["estimate"][layer], "peak_low": curve["low"][layer],
                        "peak_high": curve["high"][layer], "peak_layer": layer,
                        "random_weights": random["estimate"][layer],
                        "last_layer": curve["estimate"][-1], "chance": curve["chance"][0],
                        "n_words": curve["n_words"][0], "n_utterances": one.n_utterances,
                    }
                )  # fmt: skip
    return pl.DataFrame(rows, schema=_MODALITY)


def curve_frame(phases: list[Phases]) -> pl.DataFrame:
    """All curves of all models.

    Args:
        phases: of each model.

    Returns:
        A row for each model, curve and layer.
    """
    depth = pl.col("layer") / pl.col("n_layers")
    return pl.concat(
        [
            one.curves.with_columns(
                n_layers=pl.lit(one.n_layers, pl.Int32),
                n_utterances=pl.lit(one.n_utterances, pl.Int64),
            ).with_columns(depth=depth)
            for one in phases
        ]
    )
