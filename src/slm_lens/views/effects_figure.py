"""Effects of interventions as figures for a paper: heat maps by layer and place, and curves.

Colours of heat maps run from brown over white (no effect) to blue-green (Crameri's *BrBG* kin, told
apart by colour-blind readers), on one scale that has 0 in its middle for all panels. Curves have
95 % bands; the level of no effect is a thin line.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from slm_lens.views.phases_figure import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")  # Okabe and Ito 2008
_MARKERS, _DASHES = "os^Dvx", ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
_CELL_INCHES, _PANEL_INCHES, _HEIGHT_INCHES = 0.24, 2.3, 2.2
_WIDE_INCHES = 7.0  # across both columns of a paper


def effects_heat_map(
    panels: Mapping[str, pl.DataFrame],
    *,
    place: str = "role",
    value: str = "estimate",
    label: str = "recovery",
    places: Sequence[str] | None = None,
    n_columns: int = 3,
) -> "Figure":
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
        A figure that belongs to no window; save it with `slm_lens.save_figure`.

    Raises:
        ValueError: there is no panel, a column is missing, or a cell has two rows.
    """
    if n_columns < 1:
        raise ValueError(f"effects_heat_map: got n_columns={n_columns}, expected at least 1.")
    _check(panels, ("layer", place, value), "effects_heat_map")
    for title, table in panels.items():
        if table.select("layer", place).is_duplicated().any():
            raise ValueError(
                f"effects_heat_map: got several rows for one layer and {place} in {title!r}, "
                "expected one. Select a head, or a source layer, first."
            )
    both = pl.concat([t.select(place) for t in panels.values()])
    columns = both[place].unique(maintain_order=True).to_list() if places is None else list(places)
    largest = max(float(np.nanmax(np.abs(t[value].to_numpy()))) for t in panels.values())
    with style():
        from matplotlib.figure import Figure

        n_layers = max(int(t["layer"].to_numpy().max()) + 1 for t in panels.values())
        n_rows = -(-len(panels) // n_columns)
        n_columns = min(n_columns, len(panels))
        width = max(_PANEL_INCHES, 0.5 + 0.42 * len(columns)) * n_columns + 0.7
        height = (0.9 + _CELL_INCHES * n_layers) * n_rows
        figure = Figure(figsize=(min(width, _WIDE_INCHES), height), layout="constrained")
        grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        images = []
        for ax, (title, table) in zip(grid.flat, panels.items(), strict=False):
            images.append(_draw_heat(ax, table, columns, (place, value), largest))
            ax.set_title(title)
        for ax in grid.flat[len(panels) :]:
            ax.set_visible(False)
        for ax in grid[:, 0]:
            ax.set_ylabel("layer")
        figure.colorbar(images[0], ax=grid.ravel().tolist(), label=label, pad=0.01, aspect=30)
    return figure


def effects_curves(
    panels: Mapping[str, Mapping[str, pl.DataFrame]],
    *,
    value: str = "estimate",
    label: str = "recovery",
    level: float = 0.0,
) -> "Figure":
    """One panel for each group of tables, one curve over layers for each table.

    Args:
        panels: tables by title of the panel and name of the curve: the columns ``layer``, `value`,
            and ``low`` and ``high``, which may be null.
        value: column of the effects.
        label: what the effect is, with its unit.
        level: where a thin line stands.

    Returns:
        A figure, as `effects_heat_map`.

    Raises:
        ValueError: there is no panel or curve, more than six curves in one, or a column is
            missing.
    """
    for title, curves in panels.items() or [("", {})]:
        _check(curves, ("layer", value, "low", "high"), "effects_curves")
        if len(curves) > len(_COLOURS):
            raise ValueError(
                f"effects_curves: got {len(curves)} curves in {title!r}, expected at most "
                f"{len(_COLOURS)}: more are not told apart."
            )
    with style():
        from matplotlib.figure import Figure

        width = min(_WIDE_INCHES, 0.5 + _PANEL_INCHES * len(panels))
        figure = Figure(figsize=(max(width, 3.35), _HEIGHT_INCHES), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        is_shared = len({tuple(curves) for curves in panels.values()}) == 1
        for ax, (title, curves) in zip(axes, panels.items(), strict=True):
            ax.axhline(level, color="#666666", lw=0.6, zorder=0)
            for i, (name, table) in enumerate(curves.items()):
                _draw_curve(ax, table.sort("layer"), name, value, i)
            ax.set_title(title)
            ax.set_xlabel("layer")
            if not is_shared:
                ax.legend(frameon=False, handlelength=2.4, labelspacing=0.3)
        axes[0].set_ylabel(label)
        if is_shared:
            handles, names = axes[0].get_legend_handles_labels()
            place: dict[str, Any] = {"loc": "outside upper center", "ncols": len(names)}
            figure.legend(handles, names, frameon=False, handlelength=2.4, **place)
    return figure


def _check(tables: Mapping[str, pl.DataFrame], columns: Sequence[str], caller: str) -> None:
    missing = {t: sorted(set(columns) - set(table.columns)) for t, table in tables.items()}
    if not tables or any(missing.values()) or any(t.is_empty() for t in tables.values()):
        raise ValueError(
            f"{caller}: got the tables {list(tables)}, without rows or the columns "
            f"{ {t: m for t, m in missing.items() if m} }, expected at least one table, with rows "
            f"and the columns {tuple(columns)}."
        )


def _draw_heat(
    ax: "Axes", table: pl.DataFrame, columns: list[Any], names: tuple[str, str], largest: float
) -> Any:
    place, value = names
    n_layers = int(table["layer"].to_numpy().max()) + 1
    cells = np.full((n_layers, len(columns)), np.nan)
    for row in table.iter_rows(named=True):
        if row[place] in columns:
            cells[row["layer"], columns.index(row[place])] = row[value]
    ax.set_facecolor("#DDDDDD")  # no such cell
    image = ax.imshow(
        cells, origin="lower", aspect="auto", cmap="BrBG", vmin=-largest, vmax=largest
    )
    for (layer, column), x in np.ndenumerate(cells):
        if np.isfinite(x):
            colour = "white" if abs(x) > 0.7 * largest else "black"
            text = f"{x:.2f}".replace("-0.00", "0.00")
            ax.text(column, layer, text, ha="center", va="center", fontsize=5, color=colour)
    names_of = [str(c).replace("_", " ") for c in columns]
    ax.set_xticks(range(len(columns)), names_of, rotation=30, ha="right")
    ax.set_yticks(range(n_layers))
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    return image


def _draw_curve(ax: "Axes", table: pl.DataFrame, name: str, value: str, number: int) -> None:
    colour = _COLOURS[number]
    known = table.drop_nulls(["low", "high"])
    ax.fill_between(known["layer"], known["low"], known["high"], color=colour, alpha=0.15, lw=0)
    ax.plot(
        table["layer"], table[value], color=colour, ls=_DASHES[number], marker=_MARKERS[number],
        ms=2.6, mew=0 if _MARKERS[number] != "x" else 0.8, lw=1.1, label=name,
    )  # fmt: skip
    ax.set_xticks(table["layer"].to_list())
