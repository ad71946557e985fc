"""Figures of the study `geometry`: curves by layer, CKA, an alignment, coverage of attention."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from slm_lens.studies.study_result import StudyResult
from slm_lens.views._table import cell_grid, curve, numbers, thinned
from slm_lens.views.chart import PAGE_INCHES, Chart, Key, Scale
from slm_lens.views.panel import Axis, HeatMap, Line, Panel, layer_axis
from slm_lens.views.style import INKS, Ink

_MATCHED = Ink("blue", marker="circle")
_SHUFFLED = Ink("vermillion", "dashed", weight="thin")
_RANDOM = Ink("grey", "dotted", weight="thin")
_NORMS = {"norm_speech": Ink("speech", weight="thin"), "norm_text": Ink("text", weight="thin")}
_CONTROLS = (
    ("none", _MATCHED, "same words"),
    ("shuffled sentences", _SHUFFLED, "shuffled sentences"),
    ("random weights", _RANDOM, "same words, random weights"),
)
_ROWS = (
    ("word_cosine_centred", "cosine of words, centred"),
    ("cosine", "cosine of time means"),
    ("aps_centred", "alignment path score, centred"),
)
_MAPS = (
    ("cka", "CKA"),
    ("random", "CKA, random weights"),
    ("cosine", "cosine of words, centred"),
)
_TRUTH, _WARPED = Ink("vermillion", marker="square"), Ink("black")


def geometry_figures(result: StudyResult) -> Mapping[str, Chart]:
    """Charts of the study `geometry`.

    Args:
        result: of the study.

    Returns:
        ``geometry``: measures by layer with their controls; ``cka``: layers of speech by layers of
        text; ``alignment``: one utterance, and how often warping finds the word; ``attention``,
        where it was measured.
    """
    charts = {
        "geometry": _curves(result.frame("layers")),
        "cka": _cka(result),
        "alignment": _alignment(result),
    }
    if len(result.frame("attention")):
        charts["attention"] = _attention(result.frame("attention"))
    return charts


def _models(table: pl.DataFrame) -> list[str]:
    return table["model"].unique(maintain_order=True).to_list()


def _curves(layers: pl.DataFrame) -> Chart:
    models = _models(layers)
    axes = {m: layer_axis(_last(layers.filter(model=m), "layer")) for m in models}
    rows = []
    for i, (measure, label) in enumerate(_ROWS):
        y = Axis(label)
        panels = []
        for model in models:
            of = layers.filter(model=model, measure=measure)
            n = of["n_utterances"][0]
            sizes = f"{of['n_items'][0]} words, " if measure.startswith("word") else ""
            title, under = (model, f"{sizes}{n} utterances") if i == 0 else ("", "")
            panels.append(Panel(axes[model], y, title, under, _controlled(of)))
        rows.append(tuple(panels))
    rows.append(_distances(layers, axes))
    entries = {words: ink for _, ink, words in _CONTROLS}
    below = {"norm of the spoken mean": _NORMS["norm_speech"]}
    below |= {"norm of the written mean": _NORMS["norm_text"]}
    return Chart(
        rows=tuple(rows),
        title="Do speech and text states meet?",
        description="By layer, from above: cosine of a word's spoken and written states, less each "
        "modality's mean; cosine of the time means of a clip and its text as they are; alignment "
        "path score of centred states; Euclidean distance and norms of the time means. Bands: 95 % "
        "intervals; of random weights: where one more such model is expected, at all layers "
        f"together. Models: {', '.join(models)}.",
        width_inches=_width(models),
        height_inches=7.6,
        keys=(Key(entries, n_columns=3), Key(below, "below", 2)),
    )


def _controlled(of: pl.DataFrame) -> tuple[Line, ...]:
    lines = []
    for control, ink, words in reversed(_CONTROLS):
        rows = of.filter(control=control)
        if len(rows):
            lines.append(curve(rows, words, ink, band=0.15))
    return tuple(lines)


def _distances(layers: pl.DataFrame, axes: Mapping[str, Axis]) -> tuple[Panel, ...]:
    y = Axis("L2 distance and norms", is_log=True)
    panels = []
    for model, x in axes.items():
        of = layers.filter(model=model)
        lines = [
            curve(of.filter(measure=name, control="none"), name.replace("_", " "), ink,
                  interval=None)
            for name, ink in _NORMS.items()
        ]  # fmt: skip
        l2 = of.filter(pl.col("control") != "random weights", measure="l2")
        panels.append(Panel(x, y, lines=(*lines, *_controlled(l2))))
    return tuple(panels)


def _cka(result: StudyResult) -> Chart:
    cka, best = result.frame("cka"), result.frame("cka_rows")
    models = _models(cka)
    of_model = {m: cka.filter(model=m) for m in models}
    drawn = [(v, t) for v, t in _MAPS if cka[v].null_count() < len(cka)]
    rows = []
    axes = _shared_axes(of_model)
    for value, title in drawn:
        panels = []
        for model, table in of_model.items():
            x, y = axes[model]
            ids = [sorted(table[c].unique()) for c in ("speech_layer", "text_layer")]
            keys = ("speech_layer", ids[0]), ("text_layer", ids[1])
            cells = cell_grid(table, value, *keys)
            sizes = f"{table['n_states'][0]} states, {table['n_utterances'][0]} utterances"
            path = _best_path(best.filter(model=model), value, cells)
            panels.append(Panel(x, y, f"{model}: {title}", sizes, (path,), heat=HeatMap(cells)))
        rows.append(tuple(panels))
    highest = max(np.nanmax(numbers(cka[value])) for value, _ in drawn)
    n = max(len(axes[m][0].ticks or ()) for m in models)
    return Chart(
        rows=tuple(rows),
        title="Layers of speech by layers of text",
        description="Similarity of every layer of speech (upwards) to every layer of text, on "
        "states of the same words; the line goes through the best text layer of each speech layer. "
        f"From above: {'; '.join(t for _, t in drawn)}. CKA does not see where states lie, the "
        f"cosine does. 0 and below is white. Models: {', '.join(models)}.",
        width_inches=_width(models),
        height_inches=0.6 + len(rows) * (1.2 + 0.11 * n),
        keys=(Key({"best text layer for each speech layer": _TRUTH}),),
        scale=Scale("CKA or cosine", 0.0, np.ceil(10 * highest) / 10, colours="amount"),
    )


def _best_path(best: pl.DataFrame, value: str, cells: np.ndarray) -> Line:
    """Best text layer of each speech layer, in the cells that are drawn."""
    layers = numbers(best.sort("speech_layer")["speech_layer"])
    where = np.nan_to_num(cells, nan=-np.inf).argmax(1).astype(float)
    assert len(layers) == len(where), f"{value}: a row of cka_rows for each speech layer"
    return Line("best text layer", where, layers, _TRUTH)


def _shared_axes(of_model: Mapping[str, pl.DataFrame]) -> dict[str, tuple[Axis, Axis]]:
    """Axes of text and of speech layers; models of as many layers have the same."""
    of_depth: dict[int, tuple[Axis, Axis]] = {}
    found = {}
    for model, table in of_model.items():
        last = _last(table, "text_layer")
        ticks = thinned([float(i) for i in range(last + 1)], 10)
        new = tuple(Axis(f"{m} layer (0 = embedding)", ticks=ticks) for m in ("text", "speech"))
        found[model] = of_depth.setdefault(last, (new[0], new[1]))
    return found


def _alignment(result: StudyResult) -> Chart:
    cells, path = result.frame("example"), result.frame("example_path")
    n, m = cells["n_positions"][0], cells["n_tokens"][0]
    grid = cell_grid(cells, "cosine", ("token", range(m)), ("position", range(n)))
    steps = path.filter(kind="dtw")
    way = Line("time warping", numbers(steps["position"]), numbers(steps["token"]), _WARPED)
    model, utterance, layer = (cells[c][0] for c in ("model", "utterance", "layer"))
    example = Panel(
        Axis("speech position", ticks=thinned([float(i) for i in range(n)], 8)),
        Axis("text token", ticks=thinned([float(i) for i in range(m)], 9)),
        f"{model}, layer {layer}",
        f"cosines of utterance {utterance}",
        (_outline(path.filter(kind="word")), way),
        heat=HeatMap(grid),
    )
    agreement = result.frame("agreement")
    most = float(np.nanmax(np.abs(grid)))
    return Chart(
        rows=((example, _found(agreement)),),
        title="Alignment of speech and text",
        description=f"Left: cosines of speech positions and text tokens of utterance {utterance} "
        f"at layer {layer} of {model}, the way of time warping through them, and where the words "
        "are. Right: share of steps of the warping that put speech beside its own word, by layer, "
        "with 95 % bands; a straight line, without a model, is the control.",
        width_inches=PAGE_INCHES,
        height_inches=2.9,
        keys=(Key({"time warping": _WARPED, "word times": Ink("vermillion")}),),
        scale=Scale("cosine", -most, most),
    )


def _outline(words: pl.DataFrame) -> Line:
    """Boxes of the words, one after the other."""
    x: list[float] = []
    y: list[float] = []
    for _, box in words.group_by("word", pl.col("token").rle_id(), maintain_order=True):
        left, right = box["position"].to_numpy().min() - 0.5, box["position"].to_numpy().max() + 0.5
        low, high = box["token"].to_numpy().min() - 0.5, box["token"].to_numpy().max() + 0.5
        x += [left, right, right, left, left, np.nan]
        y += [low, low, high, high, low, np.nan]
    return Line("words", np.array(x), np.array(y), Ink("vermillion", weight="thin"))


def _found(agreement: pl.DataFrame) -> Panel:
    models = _models(agreement)
    lines = []
    for model, ink in zip(models, INKS, strict=False):
        of = agreement.filter(model=model)
        name = f"{model}: time warping"
        rows = of.filter(method="dtw").rename({"agreement": "estimate"})
        lines.append(curve(rows, name, ink, band=0.15))
    straight = agreement.filter(model=models[0], method="straight line")
    flat = Ink("grey", "dashed", weight="thin")
    lines.append(curve(straight, "straight line", flat, y="agreement", interval=None))
    key = {line.name: line.ink for line in lines}
    n = agreement["n_utterances"][0]
    return Panel(
        layer_axis(_last(agreement, "layer")),
        Axis("share beside the right word", low=0.0, high=1.0),
        "agreement with word times",
        f"{n} utterances",
        tuple(lines),
        key=key,
    )


def _attention(attention: pl.DataFrame) -> Chart:
    models = _models(attention)
    y = Axis("positions that hold 90 %", is_log=True)
    panels = []
    for model in models:
        of = attention.filter(model=model, heads="mean of the patterns")
        lines = []
        for modality in ("text", "speech"):
            rows = of.filter(modality=modality)
            uniform = Ink(modality, "dashed", weight="thin")
            lines.append(curve(rows, f"after {modality}, uniform", uniform, y="uniform",
                               interval=None))  # fmt: skip
            marker = "circle" if modality == "text" else "square"
            lines.append(curve(rows, f"after {modality}", Ink(modality, marker=marker),
                               y="coverage"))  # fmt: skip
        x = Axis("block", ticks=layer_axis(_last(of, "layer")).ticks)
        n = of["n_prompts"][0]
        panels.append(Panel(x, y, model, f"{n} prompts of each modality", tuple(lines)))
    entries = {
        "after text": Ink("text", marker="circle"),
        "after speech": Ink("speech", marker="square"),
        "uniform attention": Ink("grey", "dashed", weight="thin"),
    }
    return Chart(
        rows=(tuple(panels),),
        title="Coverage of attention",
        description="Fewest positions that hold 90 % of the attention of the position that "
        "predicts the next word, by block, mean of the heads' patterns, after a written and a "
        f"spoken prompt; dashed: uniform attention. Models: {', '.join(models)}.",
        width_inches=_width(models),
        height_inches=2.4,
        keys=(Key(entries, n_columns=3),),
    )


def _last(table: pl.DataFrame, column: str) -> int:
    return int(table[column].to_numpy().max())


def _width(models: Sequence[str]) -> float:
    return PAGE_INCHES if len(models) > 1 else 0.6 * PAGE_INCHES
