"""Affinities around a switch of modality, and what steering from there on does: `streams`.

First figure, a row for each model: affinity to the word that is heard and to the word that the
model was about to write, layer by position, and both over the band of layers with their controls.
Second one: what steering does by strength. Third one: the same by layer.
"""

import numpy as np
import polars as pl

from slm_lens.studies.streams.reading import ALONE, INTERRUPTED, OLD_PLAN, PERCEPTION, UNINTERRUPTED
from slm_lens.studies.streams.steering import ALL, MINUS_MU, MU, RANDOM
from slm_lens.studies.study_result import StudyResult
from slm_lens.views._table import cell_grid, curve, numbers, thinned, under_the_pointer
from slm_lens.views.chart import PAGE_INCHES, Chart, Key, Scale
from slm_lens.views.panel import Axis, HeatMap, Line, Panel, Rule
from slm_lens.views.style import Ink

_CONTROL = "control: words of other clips"
_LINES = {
    "heard, after text": Ink("current", marker="circle"),
    "heard, after speech": Ink("sky", "dashed", "square"),
    "heard, after nothing": Ink("green", "dash-dot", "triangle-down"),
    "old plan, after text": Ink("vermillion", marker="triangle"),
    "old plan, after speech": Ink("orange", "dashed", "diamond"),
    _CONTROL: Ink("grey", "dotted", weight="thin"),
}
_DRAWN = {
    "heard, after text": (PERCEPTION, INTERRUPTED),
    "heard, after speech": (PERCEPTION, UNINTERRUPTED),
    "heard, after nothing": (PERCEPTION, ALONE),
    "old plan, after text": (OLD_PLAN, INTERRUPTED),
    "old plan, after speech": (OLD_PLAN, UNINTERRUPTED),
}
_LEAST = 1e-3
"""Lower end of the logarithmic scales of affinity."""

_DECADES = (-3.0, -2.0, -1.0, 0.0)
_DIRECTIONS = {
    MU: Ink("blue", marker="circle"),
    MINUS_MU: Ink("vermillion", "dash-dot", "triangle"),
    RANDOM: Ink("grey", "dashed", "square"),
}
_COST = Ink("green", "dotted")
_NAMES = ("0.001", "0.01", "0.1", "1")
_ROW_INCHES = 1.9
_SHOWN = 0.9
"""Share of cells that the scale of changes tells apart; a few large ones would hide all others."""

_SWITCH = Ink("grey", weight="thin")


def streams_figures(result: StudyResult) -> dict[str, Chart]:
    """The figures of the study `streams`.

    Args:
        result: its tables.

    Returns:
        Charts ``streams``, ``dose`` and ``layers``.
    """
    names = result.frame("first_word")["model"].unique(maintain_order=True).to_list()
    return {
        "streams": _affinities(result, names),
        "dose": _doses(result, names),
        "layers": _layers(result, names),
    }


def _affinities(result: StudyResult, names: list[str]) -> Chart:
    within = result.settings["within"]
    positions = result.frame("affinity")["position"].unique().sort().to_list()
    places = _ticks(positions)
    columns = Axis(
        "position after the switch",
        ticks=tuple(float(positions.index(p)) for p in places),
        names=tuple(str(p) for p in places),
    )
    x = Axis("position after the switch", ticks=tuple(float(p) for p in places))
    y = Axis(
        f"affinity within {within}",
        is_log=True,
        low=_LEAST,
        high=1.1,
        ticks=tuple(10**d for d in _DECADES),
        names=_NAMES,
    )
    rows = []
    for name in names:
        of = result.frame("affinity").filter(model=name, within=within)
        heats = [_heat(of, name, s, positions, columns) for s in (PERCEPTION, OLD_PLAN)]
        rows.append((*heats, _lines(result, of, name, (x, y))))
    return Chart(
        rows=tuple(rows),
        title="Perception and generation around a switch from text to speech",
        description="Left and middle, affinity to the word that is heard (before the switch: "
        "read) and to the word that the model was about to write when speech began, by layer and "
        "position, with the largest value of the control behind the switch; position 0 is the "
        "speech marker, units follow. Right, both over the layers of the band, after text and for "
        "the same units after speech and after nothing, with words of other clips in place of each "
        "(grey; where one is written, it may be the next word). Scales are logarithmic. Bands: "
        f"95 % over clips. Models: {', '.join(names)}.",
        width_inches=PAGE_INCHES,
        height_inches=1.0 + _ROW_INCHES * len(names),
        keys=(Key(_LINES, "above", 3),),
        scale=Scale(
            f"affinity within {within}", -3.0, 0.0, colours="amount", ticks=_DECADES, names=_NAMES
        ),
    )


def _ticks(positions: list[int]) -> list[int]:
    """Positions with a number: every fourth one, 0 among them."""
    return [p for p in positions if p % 4 == 0]


def _heat(of: pl.DataFrame, name: str, stream: str, positions: list[int], columns: Axis) -> Panel:
    rows = of.filter(stream=stream, condition=INTERRUPTED)
    layers = rows["layer"].unique().sort().to_list()
    keys = ("layer", layers), ("position", positions)
    cells = np.log10(cell_grid(rows, "estimate", *keys).clip(min=_LEAST))
    after = rows.filter(pl.col("position") > 0)
    highest = float(np.nanmax(numbers(after["control"]), initial=0.0))
    title = {PERCEPTION: "the word that is heard", OLD_PLAN: "the old plan"}[stream]
    note = f"{name}; control ≤ {highest:.2f}"
    rules = (Rule(float(positions.index(0)), "x", _SWITCH),)
    heat = HeatMap(cells, details=under_the_pointer(rows, "estimate", "affinity", *keys))
    return Panel(columns, _layer_axis(layers), title, note, heat=heat, rules=rules)


def _layer_axis(layers: list[int]) -> Axis:
    ticks = thinned([float(i) for i in range(len(layers))], 10)
    return Axis(
        "layer (0 = embedding)", ticks=ticks, names=tuple(str(layers[int(i)]) for i in ticks)
    )


def _lines(result: StudyResult, of: pl.DataFrame, name: str, axes: tuple[Axis, Axis]) -> Panel:
    in_band = result.frame("inertia_in_band").filter(model=name)
    band = in_band["layers"][0]
    mean = result.frame("band").filter(model=name, within=result.settings["within"])
    lines: list[Line] = []
    for entry, (stream, condition) in _DRAWN.items():
        rows = mean.filter(stream=stream, condition=condition)
        lines.append(curve(rows, entry, _LINES[entry], x="position", band=0.12))
    for stream in (PERCEPTION, OLD_PLAN):
        rows = mean.filter(stream=stream, condition=INTERRUPTED).sort("position")
        grey = Line(
            f"{stream}, control",
            numbers(rows["position"]),
            numbers(rows["control"]),
            _LINES[_CONTROL],
            entry=_CONTROL,
        )
        lines.insert(0, grey)
    n = of["n_switches"].max()
    rules = (Rule(0.0, "x", _SWITCH),)
    return Panel(*axes, name, f"layers {band}; {n} switches", lines=tuple(lines), rules=rules)


def _shown_layer(result: StudyResult, rows: pl.DataFrame) -> int:
    """The last layer of the band at which was steered, or the nearest one below."""
    band = result.frame("inertia_in_band").filter(model=rows["model"][0])["layers"][0]
    last = int(str(band).split(" ")[-1])
    layers = rows["layer"].unique().sort().to_list()
    return max((layer for layer in layers if layer <= last), default=layers[0])


def _doses(result: StudyResult, names: list[str]) -> Chart:
    steering = result.frame("steering").filter(switches=ALL)
    metrics = steering["metric"].unique(maintain_order=True).to_list()
    alphas = steering["alpha"].unique().sort().to_list()
    alpha = Axis(
        "strength alpha",
        is_log=True,
        low=0.85 * alphas[0],
        high=1.15 * alphas[-1],
        ticks=tuple(alphas),
        names=tuple(f"{a:g}" for a in alphas),
    )
    rows = []
    for name in names:
        panels = []
        for metric in metrics:
            of = steering.filter(model=name, metric=metric)
            panels.append(None if of.is_empty() else _dose(result, of, name, metric, alpha))
        rows.append(tuple(panels))
    return Chart(
        rows=tuple(rows),
        title="Steering from the switch on",
        description="Mean change of a log-probability by the strength of the perception vector, of "
        "its opposite and of random vectors of the same norm, at the last layer of the band, over "
        "all switches; dotted line: what the interruption costs, a recovery of 1. Bands: 95 % over "
        f"clips. Models: {', '.join(names)}.",
        width_inches=PAGE_INCHES,
        height_inches=0.9 + _ROW_INCHES * len(names),
        keys=(Key(_DIRECTIONS | {"cost of the interruption": _COST}, "above", 4),),
    )


def _dose(result: StudyResult, of: pl.DataFrame, name: str, metric: str, alpha: Axis) -> Panel:
    layer = _shown_layer(result, of)
    lines = tuple(
        curve(of.filter(direction=d, layer=layer), d, ink, x="alpha", y="effect",
              interval=("effect_low", "effect_high"))
        for d, ink in _DIRECTIONS.items()
    )  # fmt: skip
    chosen = result.frame("chosen").filter(model=name, metric=metric, switches=ALL)
    cost = None if chosen.is_empty() else chosen["cost"][0]
    rules = [Rule(0.0, "y", Ink("grey", weight="thin"))]
    if cost is not None:
        rules.append(Rule(cost, "y", _COST))
    y = Axis("change", "nats")
    note = f"{name}, layer {layer}, {of['n_switches'][0]} switches"
    return Panel(alpha, y, metric, note, lines=lines, rules=tuple(rules))


def _layers(result: StudyResult, names: list[str]) -> Chart:
    steering = result.frame("steering").filter(switches=ALL)
    metrics = steering["metric"].unique(maintain_order=True).to_list()
    signed = steering.filter(pl.col("direction") != RANDOM).with_columns(
        dose=pl.col("alpha") * pl.when(pl.col("direction") == MU).then(1).otherwise(-1)
    )
    doses = signed["dose"].unique().sort().to_list()
    dose = Axis("alpha (below 0: opposite vector)",
                ticks=tuple(float(i) for i in range(len(doses))),
                names=tuple(f"{d:g}" for d in doses))  # fmt: skip
    rows = []
    for name in names:
        panels = []
        for metric in metrics:
            of = signed.filter(model=name, metric=metric)
            panels.append(
                None if of.is_empty() else _cells(steering, of, name, metric, (dose, doses))
            )
        rows.append(tuple(panels))
    heats = [p.heat.cells for row in rows for p in row if p is not None and p.heat is not None]
    sizes = np.abs(np.concatenate([cells.reshape(-1) for cells in heats]))
    most = float(np.nanquantile(sizes, _SHOWN)) or 1.0
    return Chart(
        rows=tuple(rows),
        title="Steering by layer and strength",
        description="Mean change of a log-probability, in nats, by the layer at which the "
        "perception vector is added and its strength (below 0: its opposite), over all switches; "
        "under each title the range of changes by random vectors of the same norm. Models: "
        f"{', '.join(names)}.",
        width_inches=PAGE_INCHES,
        height_inches=0.9 + _ROW_INCHES * len(names),
        scale=Scale("change", -most, most, "nats; beyond: as at the end"),
    )


def _cells(
    steering: pl.DataFrame, of: pl.DataFrame, name: str, metric: str, dose: tuple[Axis, list[float]]
) -> Panel:
    layers = of["layer"].unique().sort().to_list()
    cells = cell_grid(of, "effect", ("layer", layers), ("dose", dose[1]))
    random = steering.filter(model=name, metric=metric, direction=RANDOM)
    ends = (round(float(numbers(random["effect"]).min()), 2) + 0.0,
            round(float(numbers(random["effect"]).max()), 2) + 0.0)  # fmt: skip
    note = f"random: {ends[0]:.2f} to {ends[1]:.2f}"
    title = f"{name}, {metric}"
    return Panel(dose[0], _layer_axis(layers), title, note, heat=HeatMap(cells))
