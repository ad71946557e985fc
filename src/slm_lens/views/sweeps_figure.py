"""Sweeps over layers and places: patching and causal tracing as heat maps."""

from typing import Literal

import polars as pl

from slm_lens.interventions.patching.patching_result import Patching
from slm_lens.interventions.tracing.tracing_result import Tracing
from slm_lens.views.chart import Chart
from slm_lens.views.effects_figure import effects_heat_map


def patching_figure(
    patching: Patching,
    *,
    metric: str | None = None,
    value: Literal["recovery", "effect"] | None = None,
    n_bootstrap: int = 1000,
) -> Chart:
    """Mean effects of patching by layer and role; one panel for each role, if heads were patched.

    Args:
        patching: what `slm_lens.patch_pairs` gave.
        metric: one of its metrics; None for the first.
        value: as in `Patching.summary`; None for what `headline_value` chooses.
        n_bootstrap: resamples of the intervals under the pointer; 0 for none.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`. Pairs
        whose runs hardly differ are left out of a recovery.

    Raises:
        ValueError: no such metric or value, or several heads and several source layers at once.
    """
    names = patching.table["metric"].unique(maintain_order=True).to_list()
    chosen = names[0] if metric is None else metric
    if chosen not in names:
        raise ValueError(f"patching_figure: got metric={chosen!r}, expected one of {names}.")
    value = headline_value(patching, chosen) if value is None else value
    table = patching.summary(chosen, value=value, small="leave_out", n_bootstrap=n_bootstrap)
    across = [c for c in ("head", "source_layer") if _tells_apart(table, c)]
    place, by = (across[0], ["kind", "role"]) if across else ("role", ["kind"])
    panels = {
        ", ".join([str(key[0]), *(str(k).replace("_", " ") for k in key[1:])]): rows
        for key, rows in table.group_by(by, maintain_order=True)
    }
    what = "recovery of" if value == "recovery" else "change of"
    label = f"{what} {chosen.replace('_', ' ')}"
    n_columns = 2 if len(panels) == 4 else 3
    return effects_heat_map(panels, place=place, label=label, n_columns=n_columns)


def headline_value(patching: Patching, metric: str) -> Literal["recovery", "effect"]:
    """Whether there is a difference of two runs to divide by.

    Args:
        patching: what `slm_lens.patch_pairs` gave.
        metric: one of its metrics.

    Returns:
        ``"recovery"`` if some pair's runs differ in it, else ``"effect"``.
    """
    rows = patching.table.filter(metric=metric)
    gap = (rows["clean"] - rows["corrupted"]).abs()
    return "effect" if gap.null_count() or not (gap >= 1e-3).any() else "recovery"


def _tells_apart(table: pl.DataFrame, column: str) -> bool:
    """Whether cells of one layer differ in a column; the source layer is mostly the layer."""
    if column == "source_layer":
        return bool((table["source_layer"] != table["layer"]).any())
    return table[column].null_count() < len(table)


def tracing_figure(
    tracing: Tracing, *, metric: str = "probability", n_bootstrap: int = 1000
) -> Chart:
    """Average indirect effects by layer and role, one panel for each modality of the subject.

    Args:
        tracing: what `slm_lens.causal_trace` gave.
        metric: one of its metrics.
        n_bootstrap: resamples of the intervals under the pointer; 0 for none.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

    Raises:
        ValueError: no such metric.
    """  # noqa: DOC502 (raised by Tracing.summary)
    table = tracing.summary(metric, n_bootstrap=n_bootstrap)
    panels = {
        f"{modality}: {tracing.kind}": rows
        for (modality,), rows in table.group_by("modality", maintain_order=True)
    }
    return effects_heat_map(panels, label=f"indirect effect on {metric.replace('_', ' ')}")
