"""Dose and response: what a vector does by its strength, beside random vectors of its norm."""

import polars as pl

from slm_lens.interventions.steering.dose_response import DoseResponse
from slm_lens.views._table import curve, thinned
from slm_lens.views.chart import COLUMN_INCHES, PAGE_INCHES, Chart, Key
from slm_lens.views.effects_figure import in_rows
from slm_lens.views.panel import Axis, Panel, Rule
from slm_lens.views.style import Ink

_VECTOR, _RANDOM = Ink("blue", "solid", "circle"), Ink("grey", "dashed", "square")


def dose_figure(response: DoseResponse, *, metric: str | None = None, n_columns: int = 4) -> Chart:
    """One panel for each layer: the mean change of a metric by strength, with 95 % bands.

    Args:
        response: what `slm_lens.dose_response` gave.
        metric: one of its metrics; None for the first.
        n_columns: panels side by side, at most.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

    Raises:
        ValueError: no such metric, or no column.
    """
    chosen = response.metrics[0] if metric is None else metric
    if chosen not in response.metrics or n_columns < 1:
        raise ValueError(
            f"dose_figure: got metric={chosen!r} and n_columns={n_columns}, expected one of "
            f"{response.metrics}, and at least 1."
        )
    curves = response.curves().filter(metric=chosen)
    has_control = curves["control"].null_count() < len(curves)
    strength = Axis("strength", ticks=thinned(sorted(set(response.strengths)), 8))
    change = Axis(f"change of {chosen.replace('_', ' ')}")
    panels = []
    for (kind, layer), rows in curves.group_by("kind", "layer", maintain_order=True):
        lines = [curve(rows, "vector", _VECTOR, x="strength", y="effect")]
        if has_control:
            ends = ("control_low", "control_high")
            control = rows.filter(pl.col("control").is_not_null())
            lines.append(
                curve(control, "random", _RANDOM, x="strength", y="control", interval=ends)
            )
        rules = (Rule(0.0, "y", Ink("grey", weight="thin")),)
        title = f"{kind}, layer {layer}"
        panels.append(Panel(strength, change, title, lines=tuple(lines), rules=rules))
    n_columns = min(n_columns, len(panels))
    key = {"vector": _VECTOR} | ({"random": _RANDOM} if has_control else {})
    rows_of = in_rows(panels, n_columns)
    return Chart(
        rows=rows_of,
        title=f"Dose and response, {chosen}",
        description=f"Mean change of {chosen} by strength of the vector, beside random vectors of "
        "the same norm, one panel for each layer.",
        width_inches=max(COLUMN_INCHES, min(PAGE_INCHES, 0.6 + 1.9 * n_columns)),
        height_inches=0.6 + 1.5 * len(rows_of),
        keys=(Key(key),),
    )
