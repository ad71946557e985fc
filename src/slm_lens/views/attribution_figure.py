"""Attribution as heat maps: nodes by layer and role or head, edges by writer and reader."""

from typing import Any

import numpy as np
import polars as pl

from slm_lens.interventions.attribution.edge_result import EdgeAttribution
from slm_lens.interventions.attribution.node_result import NodeAttribution
from slm_lens.interventions.pairs.matching import ROLES
from slm_lens.interventions.site import HEAD_KINDS
from slm_lens.views._table import cell_grid, in_cells, largest, named_axis, under_the_pointer
from slm_lens.views.chart import PAGE_INCHES, Chart, Scale, one_row
from slm_lens.views.panel import Axis, HeatMap, Panel

_MOST_NUMBERS = 8  # columns, beyond which numbers do not fit into cells


def nodes_figure(attribution: NodeAttribution) -> Chart:
    """Scores by layer and role; of heads, summed over positions, by layer and head.

    Args:
        attribution: what `slm_lens.attribute_nodes` gave.

    Returns:
        A chart with a panel for each kind of node, of means over pairs; show it in a notebook by
        naming it, or save it with `slm_lens.save_figure`.
    """
    kinds = list(dict.fromkeys(site.kind for site in attribution.sites))
    by_role, by_head = attribution.mean("roles"), attribution.mean("all")
    layers = range(max(site.layer for site in attribution.sites) + 1)
    y = named_axis("layer", layers)
    panels = []
    for kind in kinds:
        rows = (by_head if kind in HEAD_KINDS else by_role).filter(kind=kind)
        panels.append(_node_panel(rows, kind, y, layers))
    most = largest([panel.heat.cells for panel in panels if panel.heat is not None])
    return Chart(
        rows=one_row(panels),
        title=f"Attribution to nodes, {attribution.method}",
        description=f"Mean scores of nodes over pairs, {attribution.method}, by layer and role, of "
        "heads by layer and head.",
        width_inches=min(PAGE_INCHES, 0.9 + 2.0 * len(panels)),
        height_inches=0.9 + 0.22 * len(layers),
        scale=Scale("score", -most, most),
    )


def _node_panel(rows: pl.DataFrame, kind: str, y: Axis, layers: range) -> Panel:
    of_heads = kind in HEAD_KINDS
    places: list[Any] = rows["head" if of_heads else "role"].unique().sort().to_list()
    if not of_heads:
        places = [role for role in ROLES if role in places]
    keys = ("layer", layers), ("head" if of_heads else "role", places)
    cells = cell_grid(rows, "score", *keys)
    text = in_cells(cells) if len(places) <= _MOST_NUMBERS else None
    heat = HeatMap(cells, text, under_the_pointer(rows, "score", "score", *keys))
    title = kind + (", all positions" if of_heads else "")
    return Panel(named_axis("head" if of_heads else "", places), y, title, heat=heat)


def edges_figure(attribution: EdgeAttribution) -> Chart:
    """Scores by writer and reader: means over pairs, summed over places.

    Args:
        attribution: what `slm_lens.attribute_edges` gave.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`. Cells
        without an edge are grey.
    """
    graph = attribution.graph
    cells = attribution.mean().double().masked_fill(~graph.edges, np.nan).numpy()
    writers, readers = [w.label for w in graph.writers], [r.label for r in graph.readers]
    under = tuple(
        tuple(
            f"{writer} → {reader}\nscore: {x:.4g}" for reader, x in zip(readers, row, strict=True)
        )
        for writer, row in zip(writers, cells.tolist(), strict=True)
    )
    x, y = named_axis("reader", readers, 24), named_axis("writer", writers)
    most = largest([cells])
    return Chart(
        rows=one_row([Panel(x, y, heat=HeatMap(cells, details=under))]),
        title=f"Attribution to edges, {attribution.method}",
        description=f"Mean scores of edges over pairs, {attribution.method}, from each writer to "
        "each reader of the residual stream.",
        width_inches=PAGE_INCHES,
        height_inches=min(8.0, max(2.5, 1.0 + 0.11 * len(writers))),
        scale=Scale("score", -most, most),
    )
