"""Effects of interventions: heat maps by layer and place, and curves over layers.

All panels of a heat map have one scale with 0, no effect, in its middle. Curves have 95 % bands;
the level of no effect is a thin line.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from slm_lens.interventions.ablation.word_ablation import WordAblation
from slm_lens.views._table import (
    cell_grid,
    check_columns,
    curve,
    in_cells,
    largest,
    named_axis,
    thinned,
    under_the_pointer,
)
from slm_lens.views.chart import COLUMN_INCHES, PAGE_INCHES, Chart, Key, Scale, one_row
from slm_lens.views.panel import Axis, HeatMap, Panel, Rule
from slm_lens.views.style import INKS, Ink

_CELL_INCHES, _PANEL_INCHES, _HEIGHT_INCHES = 0.24, 2.3, 2.2


def effects_heat_map(
    panels: Mapping[str, pl.DataFrame],
    *,
    place: str = "role",
    value: str = "estimate",
    label: str = "recovery",
    places: Sequence[str] | None = None,
    n_columns: int = 3,
) -> Chart:
    """One panel for each table: layers upwards, places to the right, colour for the effect.

    Args:
        panels: tables by title, such as `Patching.summary` gives them: the columns ``layer``,
            `place` and `value`, one row for each cell.
        place: column of the places.
        value: column of the effects.
        label: what the effect is, with its unit, for the colour bar.
        places: which places, in this order; None for all, in the order of the tables.
        n_columns: panels side by side, at most.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

    Raises:
        ValueError: there is no panel, a column is missing, or a cell has two rows.
    """
    if n_columns < 1:
        raise ValueError(f"effects_heat_map: got n_columns={n_columns}, expected at least 1.")
    check_columns(panels, ("layer", place, value), "effects_heat_map")
    for title, table in panels.items():
        if table.select("layer", place).is_duplicated().any():
            raise ValueError(
                f"effects_heat_map: got several rows for one layer and {place} in {title!r}, "
                "expected one. Select a head, or a source layer, first."
            )
    both = pl.concat([t.select(place) for t in panels.values()])
    columns = both[place].unique(maintain_order=True).to_list() if places is None else list(places)
    layers = sorted({int(layer) for t in panels.values() for layer in t["layer"]})
    x = named_axis("" if place == "role" else place.replace("_", " "), columns)
    y = named_axis("layer", layers)
    drawn = []
    for title, table in panels.items():
        keys = ("layer", layers), (place, columns)
        cells = cell_grid(table, value, *keys)
        heat = HeatMap(cells, in_cells(cells), under_the_pointer(table, value, label, *keys))
        drawn.append(Panel(x, y, title, heat=heat))
    most = largest(panel.heat.cells for panel in drawn if panel.heat is not None)
    n_columns = min(n_columns, len(drawn))
    rows = in_rows(drawn, n_columns)
    width = max(_PANEL_INCHES, 0.5 + 0.42 * len(columns)) * n_columns + 0.7
    return Chart(
        rows=rows,
        title=_heading(label),
        description=f"{_heading(label)} by layer and {place.replace('_', ' ')}: "
        f"{', '.join(panels)}.",
        width_inches=min(width, PAGE_INCHES),
        height_inches=(0.9 + _CELL_INCHES * len(layers)) * len(rows),
        scale=Scale(label, -most, most),
    )


def _heading(label: str) -> str:
    return label[:1].upper() + label[1:]


def in_rows(panels: Sequence[Panel], n_columns: int) -> tuple[tuple[Panel | None, ...], ...]:
    """Panels in rows of `n_columns`, the last one filled up with empty places.

    Args:
        panels: in the order of reading.
        n_columns: panels side by side.

    Returns:
        The rows of a chart.
    """
    filled: list[Panel | None] = [*panels, *[None] * (-len(panels) % n_columns)]
    return tuple(tuple(filled[i : i + n_columns]) for i in range(0, len(filled), n_columns))


def effects_curves(
    panels: Mapping[str, Mapping[str, pl.DataFrame]],
    *,
    value: str = "estimate",
    label: str = "recovery",
    level: float = 0.0,
) -> Chart:
    """One panel for each group of tables, one curve over layers for each table.

    Args:
        panels: tables by title of the panel and name of the curve: the columns ``layer``, `value`,
            and ``low`` and ``high``, which may be null.
        value: column of the effects.
        label: what the effect is, with its unit.
        level: where a thin line stands.

    Returns:
        A chart, as `effects_heat_map`.

    Raises:
        ValueError: there is no panel or curve, more than six curves in one, or a column is
            missing.
    """
    for title, curves in panels.items() or [("", {})]:
        check_columns(curves, ("layer", value, "low", "high"), "effects_curves")
        if len(curves) > len(INKS):
            raise ValueError(
                f"effects_curves: got {len(curves)} curves in {title!r}, expected at most "
                f"{len(INKS)}: more are not told apart."
            )
    is_shared = len({tuple(curves) for curves in panels.values()}) == 1
    y = Axis(label)
    drawn = []
    for title, curves in panels.items():
        inks = dict(zip(curves, INKS, strict=False))
        lines = tuple(curve(table, n, inks[n], y=value) for n, table in curves.items())
        ticks = sorted({layer for line in lines for layer in line.x.tolist()})
        rules = (Rule(level, "y", Ink("grey", weight="thin")),)
        x, key = Axis("layer", ticks=thinned(ticks)), {} if is_shared else inks
        drawn.append(Panel(x, y, title, lines=lines, rules=rules, key=key))
    names = list(next(iter(panels.values())))
    shared = Key(dict(zip(names, INKS, strict=False)), n_columns=len(names))
    width = min(PAGE_INCHES, 0.5 + _PANEL_INCHES * len(panels))
    return Chart(
        rows=one_row(drawn),
        title=_heading(label),
        description=f"{_heading(label)} by layer: {', '.join(panels)}.",
        width_inches=max(width, COLUMN_INCHES),
        height_inches=_HEIGHT_INCHES,
        keys=(shared,) if is_shared else (),
    )


def word_ablation_figure(ablation: WordAblation, *, metric: str | None = None) -> Chart:
    """What taking out directions at words costs by layer, beside its controls.

    Args:
        ablation: what `slm_lens.ablate_words` gave.
        metric: one of its metrics; None for the first.

    Returns:
        A chart, as `effects_curves`.

    Raises:
        ValueError: no such metric.
    """
    effects = ablation.effects()
    names = effects["metric"].unique(maintain_order=True).to_list()
    chosen = names[0] if metric is None else metric
    if chosen not in names:
        raise ValueError(f"word_ablation_figure: got metric={chosen!r}, expected one of {names}.")
    curves = {
        str(directions).replace("_", " "): rows
        for (directions,), rows in effects.filter(metric=chosen).group_by(
            "directions", maintain_order=True
        )
    }
    title = f"{ablation.provenance.name}, {ablation.word} word"
    return effects_curves(
        {title: curves}, value="effect", label=f"change of {chosen.replace('_', ' ')}"
    )
