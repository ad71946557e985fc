"""How a word builds up, and what is left of it at other frame rates: the study `units`.

A row for each model. Left: recall of the current and the next word by the share of the word that
was heard, at the layers of their peaks, with units alone and shuffled words beside it. Middle:
recall of the current word at single positions, layer by share. Right: recall of the current word
over the whole word by frame rate.
"""

import polars as pl

from slm_lens.studies.study_result import StudyResult
from slm_lens.studies.units.building import SHUFFLED, TRUE
from slm_lens.studies.units.rates import AGAIN, OWN, POOLED, UNITS_OWN, UNITS_REFIT
from slm_lens.views._table import cell_grid, curve, numbers, thinned
from slm_lens.views.chart import PAGE_INCHES, Chart, Key, Scale
from slm_lens.views.panel import Axis, HeatMap, Line, Panel
from slm_lens.views.style import Ink

_THIN = "thin"
_BUILD_UP = {
    "current word": Ink("current", marker="circle"),
    "current word, maximum so far": Ink("current", "dotted", weight=_THIN),
    "next word": Ink("next", marker="square"),
    "units alone": Ink("black", "dash-dot"),
    "shuffled words": Ink("grey", "dashed", weight=_THIN),
}
_RATES = {
    OWN: Ink("current", marker="circle"),
    AGAIN: Ink("vermillion", "dashed", "square"),
    POOLED: Ink("green", "dash-dot", "triangle"),
    UNITS_OWN: Ink("black", "dash-dot", "diamond"),
    UNITS_REFIT: Ink("purple", "dotted", "triangle-down"),
}
_ROW_INCHES = 1.9
_APART = 1.7  # ratio of rates whose numbers do not touch


def units_figures(result: StudyResult) -> dict[str, Chart]:
    """The figure of the study `units`.

    Args:
        result: its tables.

    Returns:
        One chart, ``units``.
    """
    names = result.frame("density")["model"].unique(maintain_order=True).to_list()
    k, heard = result.settings["k"], result.settings["heard"]
    by = "its duration" if heard == "time" else "its units"
    share = Axis(f"share of the word heard (of {by})", low=-0.03, high=1.03)
    recall = Axis(f"recall@{k} in text", low=0.0, high=1.03)
    cells = _share_axis(result.frame("build_up"), by)
    rate = _rate_axis(result.frame("rates"))
    rows = tuple(
        (
            _build_up_panel(result, name, share, recall),
            _heat_panel(result, name, cells),
            _rate_panel(result, name, rate, recall),
        )
        for name in names
    )
    return {
        "units": Chart(
            rows=rows,
            title="How much speech a word needs",
            description="Left, recall of the current and the next word by the share of the word "
            "that was heard (0: the position before it), at the layer of each peak, with units "
            "alone and shuffled words (grey: in place of each). Middle, recall of the current "
            "word at single positions by layer and share. Right, recall of the current word over "
            "all of its units by frame rate; grey, shuffled words of each. Bands: 95 % over clips. "
            f"Models: {', '.join(names)}.",
            width_inches=PAGE_INCHES,
            height_inches=1.1 + _ROW_INCHES * len(names),
            keys=(Key(_BUILD_UP, "above", 5), Key(_RATES, "below", 5)),
            scale=Scale(f"recall@{k}", 0.0, 1.0, colours="amount"),
        )
    }


def _of(result: StudyResult, table: str, name: str, **values: object) -> pl.DataFrame:
    return result.frame(table).filter(
        pl.col("model") == name, *(pl.col(c) == v for c, v in values.items())
    )


def _build_up_panel(result: StudyResult, name: str, share: Axis, recall: Axis) -> Panel:
    lines, layers = [], {}
    for entry, target, pool, control in (
        ("shuffled words", "current", "last", SHUFFLED),
        ("shuffled words", "next", "last", SHUFFLED),
        ("current word, maximum so far", "current", "max", TRUE),
        ("next word", "next", "last", TRUE),
        ("current word", "current", "last", TRUE),
    ):
        rows = _of(result, "build_up", name, target=target, pool=pool, control=control,
                   is_peak_layer=True)  # fmt: skip
        layers[target] = rows["layer"][0]
        band = ("low", "high") if control == TRUE and pool == "last" else None
        lines.append(curve(rows, entry, _BUILD_UP[entry], x="share", y="recall", interval=band))
    for control, entry in ((TRUE, "units alone"), (SHUFFLED, "shuffled words")):
        band = ("low", "high") if control == TRUE else None
        rows = _of(result, "units_alone", name, control=control)
        lines.insert(0, curve(rows, entry, _BUILD_UP[entry], x="share", y="recall", interval=band))
    n_words = _of(result, "build_up", name, target="current", control=TRUE)["n_words"][0]
    subtitle = f"current: layer {layers['current']}, next: layer {layers['next']}; {n_words} words"
    return Panel(share, recall, name, subtitle, lines=tuple(lines))


def _share_axis(table: pl.DataFrame, by: str) -> Axis:
    shares = table["share"].unique().sort().to_list()
    ticks = thinned([float(i) for i in range(len(shares))], 6)
    return Axis(
        f"share of the word heard (of {by})",
        ticks=ticks,
        names=tuple(f"{shares[int(i)]:.1f}" for i in ticks),
    )


def _heat_panel(result: StudyResult, name: str, share: Axis) -> Panel:
    rows = _of(result, "build_up", name, target="current", pool="last", control=TRUE)
    layers = rows["layer"].unique().sort().to_list()
    shares = rows["share"].unique().sort().to_list()
    cells = cell_grid(rows, "recall", ("layer", layers), ("share", shares))
    control = _of(result, "build_up", name, target="current", pool="last", control=SHUFFLED)
    highest = float(numbers(control["recall"]).max())
    ticks = thinned([float(i) for i in range(len(layers))], 10)
    layer = Axis("layer (0 = embedding)", ticks=ticks,
                 names=tuple(str(layers[int(i)]) for i in ticks))  # fmt: skip
    note = f"single positions; shuffled words at most {highest:.2f}"
    return Panel(share, layer, "current word", note, heat=HeatMap(cells))


def _rate_axis(rates: pl.DataFrame) -> Axis:
    drawn = rates["rate_hz"].unique().sort().to_list()
    ticks = [drawn[0]]
    for rate_hz in drawn[1:]:
        if rate_hz >= _APART * ticks[-1]:
            ticks.append(rate_hz)
    return Axis(
        "frame rate",
        "Hz",
        is_log=True,
        low=0.85 * drawn[0],
        high=1.15 * drawn[-1],
        ticks=tuple(ticks),
        names=tuple(f"{t:g}" for t in ticks),
    )


def _rate_panel(result: StudyResult, name: str, rate: Axis, recall: Axis) -> Panel:
    lines: list[Line] = []
    for reading, ink in _RATES.items():
        rows = _of(result, "rates", "" if reading == UNITS_REFIT else name, reading=reading)
        if not len(rows):
            continue
        if reading == AGAIN:  # through the rate that is not another one
            rows = pl.concat([rows, _of(result, "rates", name, reading=OWN)])
        rows = rows.sort("rate_hz")
        lines.append(curve(rows, reading, ink, x="rate_hz", y="recall", band=0.1))
        grey = Line(f"{reading}, shuffled words", numbers(rows["rate_hz"]),
                    numbers(rows["shuffled"]), Ink("grey", ink.dash, weight=_THIN),
                    entry=reading)  # fmt: skip
        lines.insert(0, grey)
    own = _of(result, "rates", name, reading=OWN)
    note = f"layer {own['layer'][0]}, trained at {own['rate_hz'][0]:g} Hz"
    return Panel(rate, recall, "whole word by frame rate", note, lines=tuple(lines))
